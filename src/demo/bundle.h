/* demo/bundle.h -- batch and transaction Bundles (R4 http, 3.1.0.11). */
#ifndef DEMO_BUNDLE_H
#define DEMO_BUNDLE_H

#include "demo/interaction.h"

/* Runs a Bundle that was posted to the base. A transaction is one transaction of the store; the entries of
 * a batch run side by side. Scope and body are borrowed until `done`, which may be called before this returns. */
void demo_bundle_run(const demo_scope *scope, json *body, demo_done done, void *arg);

#endif

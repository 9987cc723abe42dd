/* engine/watch.h -- for development: a pack's folder is looked at once a second, and a
 * change is pushed to every connector that runs a pack of its name. */
#ifndef ENGINE_WATCH_H
#define ENGINE_WATCH_H

#include "engine/engine.h"

typedef struct watch watch;

/* NULL when the configuration names no folder. */
watch *watch_open(engine *e);

void watch_tick(watch *w);               /* NULL allowed */

/* Waits for a look that is under way. NULL allowed: then `done` comes at once. */
void watch_close(watch *w, void (*done)(void *arg), void *arg);

#endif

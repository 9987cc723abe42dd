/* demo/patch.h -- JSON Patch (RFC 6902) on a resource. */
#ifndef DEMO_PATCH_H
#define DEMO_PATCH_H

#include "base/json.h"

/* Applies the operations in their order to a copy of `held`. ERR_FHIR: no JSON Patch;
 * ERR_CONFLICT: a path is not there, or a test failed. `why` names the operation by its place. */
must_check err demo_patch(arena *mem, const json *held, const json *operations, json **out, err_info *why);

#endif

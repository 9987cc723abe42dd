/* fhir/merge.h -- what a message knows, laid over what the service holds.
 *
 * A thin message must not wipe a rich resource (DESIGN: FHIR delivery): an element
 * that `update` does not have stays, one that it has is replaced as a whole, one
 * that is JSON null there (HL7's "") is deleted. An element is its primitive's
 * extensions too (`_birthDate`), and all forms of a choice (deceasedBoolean replaces
 * deceasedDateTime). Of `meta`, and the id, what is held stays; the profiles and
 * tags of `update` are added to it. */
#ifndef FHIR_MERGE_H
#define FHIR_MERGE_H

#include "base/json.h"

/* A new resource in `mem`; `held` and `update` are unchanged. Both are resources of one
 * type. `*changed` says whether it differs from `held` (fhir_same). */
json *fhir_merge(arena *mem, const json *held, const json *update, bool *changed);

/* The resource without the members that are JSON null: what to create when nothing is
 * held. `resource` itself when it has none, else a copy in `mem`. */
json *fhir_without_nulls(arena *mem, json *resource);

#endif

/* fhir/resource.h -- what can be asked of a FHIR R4 resource in JSON, whatever its type.
 *
 * Resources are trees of base/json.h; what is returned borrows from them. */
#ifndef FHIR_RESOURCE_H
#define FHIR_RESOURCE_H

#include "base/json.h"

/* A resource type of R4, such as "Patient". */
bool fhir_type_known(slice type);

/* [A-Za-z0-9\-.]{1,64} */
bool fhir_id_valid(slice id);

/* `resourceType` and `id`; SLICE_NONE when absent or no string. */
slice fhir_type(const json *resource);
slice fhir_id(const json *resource);

/* A token: an Identifier's system and value, or a Coding's system and code. */
typedef struct fhir_token { slice system, code; } fhir_token;    /* each may be SLICE_NONE */
typedef struct fhir_tokens { fhir_token *at; size_t count; } fhir_tokens;

/* Of the Identifier(s) in `identifier`; those without a value are left out. */
fhir_tokens fhir_identifiers(arena *mem, const json *resource);

/* Of every Coding in the CodeableConcept(s), or Coding(s), in the element `name`; a concept
 * with text only gives none. fhir_categories is that of `category`. */
fhir_tokens fhir_codings(arena *mem, const json *resource, const char *name);
fhir_tokens fhir_categories(arena *mem, const json *resource);

/* True when meta.profile names it (with or without a "|version" there). */
bool fhir_has_profile(const json *resource, slice profile);

/* Calls `each` for every Reference.reference in the tree, contained resources
 * included, with the name of the element that holds the Reference ("subject"; a
 * repeating element's too). `reference` is a string whose text may be replaced. */
typedef void (*fhir_reference_each)(void *arg, slice element, json *reference);
void fhir_references(json *resource, fhir_reference_each each, void *arg);

/* "Patient/1", "Patient/1/_history/2", "http://host/base/Patient/1": its parts, else false
 * ("#x", "urn:uuid:…", "Patient?identifier=…"). */
typedef struct fhir_target { slice base, type, id, version; } fhir_target;   /* SLICE_NONE: absent */
must_check bool fhir_reference_parse(slice reference, fhir_target *out);

/* Same content: members in any order, numbers as they are written (1.10 is not 1.1). */
bool fhir_same(const json *a, const json *b);

#endif

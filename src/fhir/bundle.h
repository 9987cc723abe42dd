/* fhir/bundle.h -- transaction Bundles (FHIR R4, 3.1.0.11): written for a service,
 * and its answer read. */
#ifndef FHIR_BUNDLE_H
#define FHIR_BUNDLE_H

#include "base/json.h"

typedef struct fhir_bundle_entry {
    slice       full_url;                /* "urn:uuid:…"; empty: none */
    const json *resource;                /* elements that are JSON null are left out; NULL: none */
    slice       method;                  /* "POST", "PUT", … */
    slice       url;                     /* "Patient", "Patient/123" */
    slice       if_none_exist;           /* "identifier=…"; empty: none */
    slice       if_match;                /* W/"3"; empty: none */
} fhir_bundle_entry;

/* Appends the Bundle, members in FHIR's order. An identifier is written when
 * `identifier_value` is not empty, its system when that is not. */
void fhir_bundle_write(buf *out, slice identifier_system, slice identifier_value,
                       const fhir_bundle_entry *entries, size_t count);

typedef struct fhir_bundle_answer {
    int         status;                  /* 201 of "201 Created" */
    slice       type, id;                /* from `location`, or from the resource; empty: none */
    slice       version;                 /* from `location`, or from `etag` */
    const json *outcome;                 /* OperationOutcome, or NULL */
} fhir_bundle_answer;

/* Reads a transaction-response: one answer for each entry, in their order; slices
 * borrow from `v`. ERR_FHIR when it is no such Bundle, an entry has no readable
 * status, or there are not `expected` entries (SIZE_MAX: any number). */
must_check err fhir_bundle_read_response(arena *mem, const json *v, size_t expected,
                                         fhir_bundle_answer **out, size_t *count, err_info *why);

#endif

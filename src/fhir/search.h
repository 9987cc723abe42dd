/* fhir/search.h -- values of FHIR search parameters (R4 search, 3.1.1.4), taken apart.
 *
 * Each takes the value as it stands in the decoded query; what it gives is free
 * of FHIR's own escapes (\, \| \$ \\). ERR_USAGE says what is wrong with a value
 * without repeating it. */
#ifndef FHIR_SEARCH_H
#define FHIR_SEARCH_H

#include "base/arena.h"
#include "fhir/date.h"

/* The next of the alternatives "a,b,c", escapes kept; false at the end. */
must_check bool fhir_search_next(slice *rest, slice *value);

/* "identifier:exact" -> name "identifier", modifier "exact" (SLICE_NONE without). */
slice fhir_search_name(slice parameter, slice *modifier);

/* "system|code", "|code" (has no system), "code" (any system), "system|" (any code). */
typedef enum fhir_token_kind { TOKEN_BOTH, TOKEN_NO_SYSTEM, TOKEN_CODE, TOKEN_SYSTEM } fhir_token_kind;
typedef struct fhir_search_token { fhir_token_kind kind; slice system, code; } fhir_search_token;
must_check err fhir_search_token_parse(arena *mem, slice value, fhir_search_token *out, err_info *why);

/* "Patient/1", "1", "http://host/fhir/Patient/1" (one of `base`, or another's: then `url` is set
 * and nothing else). `type_hint` is the modifier of "subject:Patient=1" or the one type
 * that the parameter allows ("patient"); SLICE_NONE: type stays SLICE_NONE for a bare id. */
typedef struct fhir_search_reference { slice type, id, url; } fhir_search_reference;
must_check err fhir_search_reference_parse(arena *mem, slice value, slice base, slice type_hint,
                                           fhir_search_reference *out, err_info *why);

/* A date with its prefix as the span of instants that match: "ge2026-04" is from the
 * first of April on. Takes eq, ge, gt, le, lt, sa and eb; ne and ap are refused. */
must_check err fhir_search_date_parse(slice value, fhir_span *out, err_info *why);

/* A string value: escapes resolved. */
slice fhir_search_text(arena *mem, slice value);

#endif

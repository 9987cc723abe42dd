/* demo/index.h -- what the demo can search by: the keys of a resource, and the ranges of
 * keys that a search parameter asks for.
 *
 * A key is "name=value". A token has two ("system|code" or "|code", and "code"), so
 * that most ways to ask are one exact key; what is left are the beginnings of keys. */
#ifndef DEMO_INDEX_H
#define DEMO_INDEX_H

#include "base/json.h"

typedef enum param_kind {
    PARAM_IDENTIFIER, PARAM_CODING, PARAM_CODE, PARAM_URI, PARAM_STRING, PARAM_DATE, PARAM_REFERENCE
} param_kind;

typedef struct demo_param {
    const char *name;
    param_kind  kind;
    const char *path;                    /* of elements: "subject", "participant.individual" */
    const char *part;                    /* of each, what counts: a HumanName's "family"; NULL: all of it */
} demo_param;

/* The parameter of that name for resources of that type, NULL when there is none. There may be
 * several rows; any tells the kind. */
const demo_param *demo_param_find(slice type, slice name);
/* All of a type's: `*at` begins as 0. NULL at the end. */
const demo_param *demo_param_next(slice type, size_t *at);

/* A reference that was not a plain Type/id: the parameters it counts for. The same text may
 * come several times. */
typedef void (*demo_link_each)(void *arg, slice reference, const char *param);

/* Appends the keys of a resource as a JSON array of strings. `base` is our own URL: references
 * to it count as local. `link` is called for the others ("urn:uuid:…", "Patient?…",
 * foreign URLs are keys). */
void demo_index(arena *mem, buf *out, const json *resource, slice base, demo_link_each link, void *arg);

/* Gives a range of keys for each alternative in `value`: from `lo` to `hi`, both included.
 * ERR_USAGE says what is wrong with the value or modifier. */
typedef void (*demo_range_each)(void *arg, slice lo, slice hi);
must_check err demo_ranges(arena *mem, const demo_param *param, slice modifier, slice value, slice base,
                           demo_range_each each, void *arg, err_info *why);

#endif

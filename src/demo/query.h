/* demo/query.h -- the query of a search or a condition, and the Bundle of what was found. */
#ifndef DEMO_QUERY_H
#define DEMO_QUERY_H

#include "demo/store.h"
#include "fhir/date.h"

enum { DEMO_COUNT_DEFAULT = 50, DEMO_COUNT_MAX = 1000 };

typedef struct demo_query {
    slice       type;
    slice       criteria;                /* JSON for the store: "[]" without any */
    int         number;                  /* of criteria */
    slice      *keys;                    /* what they ask for, to lock; */
    int         key_count;
    bool        bounded;                 /* by _lastUpdated: */
    fhir_span   updated;
    const char *order;                   /* id, -id, updated, -updated */
    bool        after;                   /* not the first page: */
    int64_t     after_us;
    slice       after_id;
    int         count;                   /* resources a page; 0: the total only */
    bool        total;
    slice       self;                    /* the parameters that were honoured, encoded, without the page's */
    slice       ignored;                 /* names of those that were not, with commas; empty: none */
} demo_query;

/* Reads the query of a search. ERR_USAGE names a parameter that makes no sense; one that is not
 * known goes to `ignored`, as FHIR wants it for lenient handling (R4 search, 3.1.1.4.1). */
must_check err demo_query_parse(arena *mem, slice type, slice query, slice base, demo_query *out, err_info *why);

/* The query of a conditional interaction or reference: here everything must be known, and it
 * must say something. */
must_check err demo_condition_parse(arena *mem, slice type, slice query, slice base, demo_query *out,
                                    err_info *why);

/* The calls of a search (1 or 2); `calls` has room for two. */
int demo_query_calls(arena *mem, const demo_query *q, demo_call *calls);

/* The searchset from their results. */
slice demo_query_bundle(arena *mem, const demo_query *q, slice base, const pg_result *results);

/* The history Bundle from the result of DEMO_HISTORY; its rows are not empty. */
slice demo_history_bundle(arena *mem, slice type, slice id, slice base, const pg_result *result);

#endif

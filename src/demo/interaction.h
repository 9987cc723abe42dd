/* demo/interaction.h -- one FHIR interaction (R4 http, 3.1.0), whether it came as an HTTP request or
 * as an entry of a Bundle: understood, checked, turned into calls of the store, answered. */
#ifndef DEMO_INTERACTION_H
#define DEMO_INTERACTION_H

#include "base/json.h"
#include "demo/query.h"
#include "demo/store.h"

/* What the interactions of one HTTP request share. */
typedef struct demo_scope {
    arena      *mem;
    demo_store *store;
    slice       base;                    /* "http://127.0.0.1:8090/fhir" */
    bool        strict;                  /* Prefer: handling=strict */
    bool        want_body;               /* of what is written */
} demo_scope;

typedef enum demo_verb {
    DO_METADATA, DO_BUNDLE, DO_READ, DO_VREAD, DO_HISTORY, DO_SEARCH, DO_CREATE, DO_UPDATE, DO_PATCH, DO_DELETE
} demo_verb;

typedef struct demo_interaction {
    demo_verb  verb;
    const char *method;                  /* a literal, as it is kept with the version */
    slice      type, id, version;        /* from the URL; id SLICE_NONE: conditional, or create */
    slice      query;                    /* behind the '?', or the form of a POST _search */
    slice      if_match, if_none_match, if_none_exist;       /* SLICE_NONE: not sent */
    json      *body;                     /* NULL: none */
    /* set by demo_prepare: */
    demo_query search;                   /* of a search or condition */
    bool       conditional;
} demo_interaction;

typedef struct demo_answer {
    int         status;
    slice       body;                    /* JSON; SLICE_NONE: none */
    const char *allow;                   /* of a 405 */
    slice       type, id, updated;       /* what was read or written; version 0: nothing */
    int64_t     version, updated_us;
} demo_answer;

/* Fills the answer with an OperationOutcome and returns false. */
bool demo_refuse(arena *mem, demo_answer *answer, int status, const char *code, const char *fmt, ...)
    printf_like(5, 6);

/* What the store's failure means for the caller; logs what an operator should know. */
void demo_store_failed(arena *mem, demo_answer *answer, err e, const char *sqlstate);

/* Finds the interaction for a method and a path below the base ("/Patient/1"); false: answered
 * with 404, 405 or 400. */
must_check bool demo_route(arena *mem, slice method, slice path, demo_interaction *ix, demo_answer *answer);

/* Checks everything that can be checked without the store; false: answered. */
must_check bool demo_prepare(const demo_scope *scope, demo_interaction *ix, demo_answer *answer);

/* Reads, searches, histories: their calls (`calls` has room for two), and the answer from the results. */
int demo_read_calls(const demo_scope *scope, const demo_interaction *ix, demo_call *calls);
void demo_read_answer(const demo_scope *scope, const demo_interaction *ix, const pg_result *results,
                      demo_answer *answer);

/* Runs one prepared or unprepared interaction; `done` may be called before it returns. Scope and
 * interaction are borrowed until then. */
typedef void (*demo_done)(void *arg, const demo_answer *answer);
void demo_run(const demo_scope *scope, demo_interaction *ix, demo_done done, void *arg);

static inline bool demo_is_write(demo_verb v) { return v == DO_CREATE || v == DO_UPDATE || v == DO_DELETE; }

#endif

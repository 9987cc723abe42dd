/* store/pg.h -- one PostgreSQL connection on a libuv loop, in pipeline mode.
 *
 * Work is handed over as units: statements that end in one Sync and so are one
 * implicit transaction. Units are sent in order, several may be on the wire.
 * The connection comes back by itself when it is lost; a unit that was on the
 * wire then ends with ERR_STORE_LOST (nobody knows whether it committed), one
 * that was not yet sent waits for the new connection. A server that owes an
 * answer and is silent for half as long again as it has for a statement is lost
 * too; what it still runs for the old connection is ended by the new one.
 *
 *   CONNECTING -> PREPARING -> READY --lost--> WAITING (backoff) -> CONNECTING */
#ifndef STORE_PG_H
#define STORE_PG_H

#include <uv.h>

#include "base/buf.h"
#include "store/result.h"

typedef struct pg pg;
typedef struct pg_unit pg_unit;

/* A statement to prepare on every new connection; found again by its address. */
typedef struct pg_statement {
    const char *name;
    const char *sql;
} pg_statement;

typedef struct pg_options {
    const char                *url;      /* libpq connection string or URI */
    const char                *application;      /* shown in pg_stat_activity */
    const pg_statement *const *statements;       /* NULL-terminated; NULL: none */
    /* After connecting, before READY: single commands to run as they are, "LISTEN x"; may be NULL. */
    const char *const         *on_connect;       /* NULL-terminated */
    void (*ready)(void *arg, bool ready, const err_info *why);   /* each change; may be NULL */
    void (*notified)(void *arg, slice channel, slice payload);   /* may be NULL */
    void                      *arg;
} pg_options;

/* Eight hex digits of this process, the same until it ends: PostgreSQL shows each connection under
 * pg_options.application with them and a number of its own behind. */
const char *pg_instance(void);

/* How long a statement may take, for connections opened from here on; 30 s otherwise. */
void pg_set_patience(uint64_t ms);

pg *pg_open(uv_loop_t *loop, const pg_options *options);
bool pg_is_ready(const pg *c);
size_t pg_waiting(const pg *c);          /* units not yet answered */

/* Ready, and what it owes an answer to is not long ago; else `why` (may be NULL) says so. */
bool pg_answers(const pg *c, err_info *why);

/* A unit and its statements. Parameters are text or binary as in libpq; they
 * are borrowed until the unit ends. */
typedef struct pg_param { const char *value; int len; int format; } pg_param;   /* value NULL: NULL */

pg_unit *pg_unit_new(pg *c);
arena *pg_unit_arena(pg_unit *u);        /* for parameters; freed with the unit */
void pg_unit_add(pg_unit *u, const pg_statement *st, const pg_param *params, int count);
/* The same for SQL that was not prepared; only for rare work. */
void pg_unit_sql(pg_unit *u, const char *sql, const pg_param *params, int count);

/* `done` is called once, on the loop's thread, never from within this call:
 * ERR_OK with one result for each statement; ERR_STORE with the first error
 * (`why`, and sqlstate), in which case nothing of it was kept; ERR_STORE_LOST;
 * ERR_CLOSED. Results are gone when it returns. */
typedef void (*pg_done)(void *arg, err e, const pg_result *results, int count,
                        const char *sqlstate, const err_info *why);
void pg_submit(pg_unit *u, pg_done done, void *arg);

/* Ends what is on the wire, refuses the rest, closes; then `done`. */
void pg_close(pg *c, void (*done)(void *arg), void *arg);

/* One parameter. NULL pointer: NULL. */
pg_param pg_text(arena *mem, slice v);           /* copied with a NUL */
pg_param pg_bytea(arena *mem, slice v);
pg_param pg_int(arena *mem, int64_t v);

/* Builders for array parameters, in the unit's arena. The values are the oids of the types. */
typedef enum pg_type { PG_BYTEA = 17, PG_INT8 = 20, PG_INT4 = 23, PG_TEXT = 25, PG_TIMESTAMPTZ = 1184 } pg_type;
typedef struct pg_array { buf b; pg_type type; int count; bool nulls; } pg_array;
void pg_array_begin(pg_array *a, arena *mem, pg_type type);
void pg_array_text(pg_array *a, slice v);        /* text, bytea; NULL pointer: NULL */
void pg_array_int(pg_array *a, int v);           /* int4 */
void pg_array_int8(pg_array *a, int64_t v);      /* int8 */
void pg_array_time(pg_array *a, int64_t us);     /* timestamptz, since 1970-01-01; 0: NULL */
pg_param pg_array_end(pg_array *a);
pg_param pg_text_array(arena *mem, const slice *elements, size_t count);

/* Arrays as text, "{…}", for elements of an array of text. */
slice pg_literal(arena *mem, const slice *elements, size_t count);
slice pg_literal_ints(arena *mem, const int *elements, size_t count);

#endif

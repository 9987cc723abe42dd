/* demo/store.h -- the demo's PostgreSQL: its schema, its statements, its connections.
 *
 * A schema of its own holds everything (sql/demo/store.sql). It is installed at the
 * first connection and brought up to date when the program's is another; several
 * stores can share a database under different names. Work goes to the connection
 * that has the least to do, and is done again when PostgreSQL ended it for a deadlock. */
#ifndef DEMO_STORE_H
#define DEMO_STORE_H

#include "store/pg.h"

typedef struct demo_store demo_store;

/* The functions of sql/demo/store.sql, with their parameters. */
typedef enum demo_function {
    DEMO_WRITE,                          /* locks, entries, body */
    DEMO_READ,                           /* type, id, version or NULL */
    DEMO_HISTORY,                        /* type, id, at most */
    DEMO_COUNT,                          /* type, criteria, from, to */
    DEMO_SEARCH,                         /* type, criteria, from, to, order, after time, after id, at most */
    DEMO_FUNCTIONS
} demo_function;

enum { DEMO_PARAMS = 8 };

typedef struct demo_call {
    demo_function function;
    pg_param      params[DEMO_PARAMS];
} demo_call;

/* `schema` is checked: lower-case letters, digits and '_', at most 40; else ERR_USAGE. */
must_check err demo_store_open(uv_loop_t *loop, const char *url, const char *schema, int connections,
                               demo_store **out, err_info *why);

/* The schema is there and a connection is up. Changes are logged. */
bool demo_store_ready(const demo_store *s);

/* Runs the calls as one transaction; they are borrowed until `done`, which is that
 * of pg_submit. */
void demo_store_run(demo_store *s, const demo_call *calls, int count, pg_done done, void *arg);

void demo_store_close(demo_store *s, void (*done)(void *arg), void *arg);

#endif

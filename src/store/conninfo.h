/* store/conninfo.h -- where PostgreSQL is: a connection string whose host names are
 * resolved without blocking the loop (PQconnectStart would block on them). */
#ifndef STORE_CONNINFO_H
#define STORE_CONNINFO_H

#include <libpq-fe.h>
#include <uv.h>

#include "base/base.h"

typedef struct conninfo conninfo;

/* `url` in either of libpq's forms; one that libpq cannot read is told by
 * conninfo_resolve. */
conninfo *conninfo_new(const char *url, const char *application);
void conninfo_free(conninfo *i);

/* Looks up every host name that needs it; one that is known is enough. `done` is called once, later. An object
 * that is freed meanwhile does not call. */
void conninfo_resolve(conninfo *i, uv_loop_t *loop,
                      void (*done)(void *arg, err e, const err_info *why), void *arg);

/* Begins to connect (PQconnectStartParams) with the address of this number, counted around; then come the
 * others. The server ends a statement after `statement_ms`. */
PGconn *conninfo_start(const conninfo *i, size_t first, uint64_t statement_ms);

/* Where a connection is, to be compared; and the number of that address, 0 when it is none of them. */
enum { CONNINFO_AT = 400 };
void conninfo_at(const PGconn *conn, char at[CONNINFO_AT]);
size_t conninfo_number(const conninfo *i, const char *at);
bool conninfo_several(const conninfo *i);                /* Is there another? */

/* libpq's last error as one line; never holds the password. Borrowed. */
const char *conninfo_error(const PGconn *conn);

/* What to do about an error of libpq's while connecting. */
const char *conninfo_advice(const char *text);

/* "engine@127.0.0.1:5432/interop", for messages. */
char *conninfo_text(const char *url, char *out, size_t cap);

#endif

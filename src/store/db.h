/* store/db.h -- PostgreSQL for the command line: one statement after the other,
 * waiting for each. The engine never uses it on a loop. */
#ifndef STORE_DB_H
#define STORE_DB_H

#include "base/arena.h"
#include "store/result.h"

typedef struct db db;

/* ERR_STORE says where it tried to connect (never the password), why it failed,
 * and what to do. */
must_check err db_open(const char *url, const char *application, db **out, err_info *why);
void db_close(db *d);                    /* NULL allowed */

/* A transaction; with a tenant, row-level security lets it see that tenant's rows. */
must_check err db_begin(db *d, slice tenant_or_none, err_info *why);
must_check err db_commit(db *d, err_info *why);
void db_rollback(db *d);                 /* nothing to do outside a transaction */

/* Parameters as text, SLICE_NONE for NULL. The result lives until the next call
 * on `d`. ERR_CONFLICT for unique violations, ERR_STORE otherwise. */
must_check err db_exec(db *d, const char *sql, const slice *params, int count,
                       pg_result *out_or_null, err_info *why);
/* Several statements without parameters: migrations. */
must_check err db_script(db *d, slice sql, err_info *why);
const char *db_sqlstate(const db *d);    /* of the last error, "" */

/* What PostgreSQL keeps of a password (SCRAM-SHA-256), for CREATE ROLE … PASSWORD, so
 * that it never travels and is never logged in clear. The caller frees it. */
char *db_password_verifier(db *d, slice role, slice password);

#endif

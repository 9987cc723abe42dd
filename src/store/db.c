/* store/db.c -- one libpq connection, one statement at a time. Every error is one
 * line that says what to do about it, and holds no row's content. */
#include "store/db.h"

#include <libpq-fe.h>
#include <stdlib.h>

#include "store/conninfo.h"

struct db {
    PGconn   *pg;
    PGresult *last;                      /* what pg_result of the last call points to */
    char      sqlstate[6];
};

/* libpq's and PostgreSQL's texts may have several lines. */
static slice one_line(const char *text, char *out, size_t cap)
{
    slice s = slice_trim(slice_of(text));

    (void)slice_cstr(s, out, cap);
    for (char *c = out; *c != '\0'; c++)
        if ((unsigned char)*c < ' ') *c = ' ';
    return slice_of(out);
}

/* ---- connecting ---------------------------------------------------------------- */

static void drop_notice(void *arg, const char *text)
{
    (void)arg;
    (void)text;
}

err db_open(const char *url, const char *application, db **out, err_info *why)
{
    const char *const keys[] = { "connect_timeout", "dbname", "application_name", "client_encoding", NULL };
    const char *const values[] = { "10", url, application, "UTF8", NULL };
    char text[160];
    PQconninfoOption *parsed;
    db *d;

    *out = NULL;
    /* First, since what PQconnectdb says of a malformed string may quote its password. */
    parsed = PQconninfoParse(url, NULL);
    if (parsed == NULL)
        return err_set(why, ERR_CONFIG, "the database's connection string cannot be read: "
                       "write postgresql://USER@HOST:PORT/DATABASE, special characters percent-encoded");
    PQconninfoFree(parsed);

    d = mem_zalloc(sizeof *d);
    d->pg = PQconnectdbParams(keys, values, 1);
    if (d->pg == NULL) die("out of memory (connection)");
    if (PQstatus(d->pg) != CONNECTION_OK) {
        const char *all = PQerrorMessage(d->pg);
        err e = err_set(why, ERR_STORE, "no database: %s; %s", one_line(all, text, sizeof text).ptr, conninfo_advice(all));
        db_close(d);
        return e;
    }
    if (PQserverVersion(d->pg) < 150000) {
        err e = err_set(why, ERR_STORE, "PostgreSQL 15 or later is needed, this is %d", PQserverVersion(d->pg) / 10000);
        db_close(d);
        return e;
    }
    (void)PQsetErrorVerbosity(d->pg, PQERRORS_TERSE);
    (void)PQsetNoticeProcessor(d->pg, drop_notice, NULL);
    *out = d;
    return ERR_OK;
}

void db_close(db *d)
{
    if (d == NULL) return;
    PQclear(d->last);
    PQfinish(d->pg);
    free(d);
}

/* ---- statements ----------------------------------------------------------------- */

/* Keeps `result` as the last one and says whether it is good. Only the primary
 * message is shown: DETAIL quotes the row. `migrated`: a statement that a migrated
 * database takes, so that a missing table or right is told as what it is. */
static err take_result(db *d, PGresult *result, bool migrated, err_info *why)
{
    ExecStatusType status = PQresultStatus(result);
    const char *state, *primary;
    char text[200];

    PQclear(d->last);
    d->last = result;
    d->sqlstate[0] = '\0';
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) return ERR_OK;

    state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    (void)slice_cstr(slice_of(state), d->sqlstate, sizeof d->sqlstate);
    (void)one_line(primary != NULL ? primary : PQerrorMessage(d->pg), text, sizeof text);
    if (PQstatus(d->pg) != CONNECTION_OK || state == NULL)
        return err_set(why, ERR_STORE_LOST, "the database connection was lost: %s", text);
    if (strcmp(d->sqlstate, "23505") == 0) return err_set(why, ERR_CONFLICT, "%s", text);
    if (!migrated) return err_set(why, ERR_STORE, "%s (%s)", text, d->sqlstate);
    if (strcmp(d->sqlstate, "42P01") == 0 || strcmp(d->sqlstate, "42703") == 0 || strcmp(d->sqlstate, "42883") == 0)
        return err_set(why, ERR_STORE, "%s: the database is not migrated to this release; run `interop migrate`", text);
    if (strcmp(d->sqlstate, "42501") == 0)
        return err_set(why, ERR_STORE, "%s for role \"%s\": run `interop migrate`, which grants it, "
                       "or use the engine's role", text, PQuser(d->pg));
    return err_set(why, ERR_STORE, "%s (%s)", text, d->sqlstate);
}

#define PARAMS_MAX 32

err db_exec(db *d, const char *sql, const slice *params, int count, pg_result *out, err_info *why)
{
    const char *values[PARAMS_MAX] = { NULL };
    char *copies[PARAMS_MAX] = { NULL };
    err e;

    if (count > PARAMS_MAX) die("db_exec: %d parameters", count);
    for (int i = 0; i < count; i++) values[i] = copies[i] = params[i].ptr == NULL ? NULL : mem_dup(params[i]);
    e = take_result(d, PQexecParams(d->pg, sql, count, NULL, values, NULL, NULL, 0), true, why);
    for (int i = 0; i < count; i++) free(copies[i]);
    if (out != NULL) *out = (pg_result){ d->last };
    return e;
}

err db_script(db *d, slice sql, err_info *why)
{
    char *copy = mem_dup(sql);
    err e = take_result(d, PQexec(d->pg, copy), false, why);

    free(copy);
    return e;
}

/* ---- transactions --------------------------------------------------------------- */

err db_begin(db *d, slice tenant, err_info *why)
{
    err e = db_script(d, slice_lit("BEGIN"), why);

    if (e != ERR_OK || tenant.len == 0) return e;
    e = db_exec(d, "SELECT set_config('app.current_tenant_id', $1, TRUE)", &tenant, 1, NULL, why);
    if (e != ERR_OK) db_rollback(d);
    return e;
}

err db_commit(db *d, err_info *why)
{
    err e = db_script(d, slice_lit("COMMIT"), why);

    /* COMMIT of a failed transaction succeeds as a ROLLBACK. */
    if (e == ERR_OK && strcmp(PQcmdStatus(d->last), "COMMIT") != 0)
        return err_set(why, ERR_STORE, "the transaction was rolled back");
    return e;
}

void db_rollback(db *d)
{
    PGTransactionStatusType now = PQtransactionStatus(d->pg);

    if (now == PQTRANS_INTRANS || now == PQTRANS_INERROR) PQclear(PQexec(d->pg, "ROLLBACK"));
}

const char *db_sqlstate(const db *d) { return d->sqlstate; }

char *db_password_verifier(db *d, slice role, slice password)
{
    char *name = mem_dup(role), *secret = mem_dup(password), *copy;
    char *verifier = PQencryptPasswordConn(d->pg, secret, name, "scram-sha-256");

    if (verifier == NULL) die("cannot encrypt a password");
    copy = mem_dup(slice_of(verifier));
    PQfreemem(verifier);
    explicit_bzero(secret, password.len);
    free(name);
    free(secret);
    return copy;
}

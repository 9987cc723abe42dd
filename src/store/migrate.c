/* store/migrate.c -- runs the SQL files that the database lacks. */
#include "store/migrate.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>

#include "base/buf.h"
#include "crypt/digest.h"
#include "store/migrate_files.h"

/* A number of our own for pg_advisory_lock: "interop" in ASCII. */
#define MIGRATE_LOCK "29673513036115824"

void migrate_say(const migrate_report *report, const char *fmt, ...)
{
    char line[512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    report->say(report->arg, line);
}

static bool is_migration(const migrate_file *f) { return strcmp(f->name, MIGRATE_GRANTS) != 0; }

/* ---- what is there already -------------------------------------------------------- */

/* The checksum under which `name` was applied, "" when it was not. */
static err applied_checksum(db *d, const char *name, char out[SHA256_HEX + 1], err_info *why)
{
    slice param = slice_of(name);
    pg_result r;
    err e = db_exec(d, "SELECT checksum FROM interop_migrations WHERE name = $1", &param, 1, &r, why);

    out[0] = '\0';
    if (e == ERR_OK && pg_rows(&r) > 0) (void)slice_cstr(pg_cell(&r, 0, 0), out, SHA256_HEX + 1);
    return e;
}

static void checksum_of(const migrate_file *f, char out[SHA256_HEX + 1])
{
    sha256 sum = sha256_of(migrate_text(f));
    (void)sha256_hex(&sum, out);
}

static err refuse_newer(db *d, err_info *why)
{
    buf known = buf_in(NULL);
    slice names;
    pg_result r;
    err e;

    for (const migrate_file *f = migrate_files; f->name != NULL; f++) buf_printf(&known, " %s ", f->name);
    names = buf_slice(&known);
    e = db_exec(d, "SELECT name FROM interop_migrations WHERE strpos($1, ' ' || name || ' ') = 0"
                " ORDER BY name DESC LIMIT 1", &names, 1, &r, why);
    buf_free(&known);
    if (e != ERR_OK || pg_rows(&r) == 0) return e;
    return err_set(why, ERR_CONFIG, "the database was migrated by a newer release (it has %.*s): migrate with that one",
                   (int)pg_cell(&r, 0, 0).len, pg_cell(&r, 0, 0).ptr);
}

err migrate_check(db *d, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT to_regclass('public.interop_migrations') IS NOT NULL", NULL, 0, &r, why);

    if (e != ERR_OK) return e;
    if (!pg_cell_bool(&r, 0, 0))
        return err_set(why, ERR_CONFIG, "the database is not set up for Interop: run `interop migrate`");
    for (const migrate_file *f = migrate_files; f->name != NULL; f++) {
        char sum[SHA256_HEX + 1];
        if (!is_migration(f)) continue;
        e = applied_checksum(d, f->name, sum, why);
        if (e != ERR_OK) return e;
        if (sum[0] == '\0')
            return err_set(why, ERR_CONFIG, "the database lacks migration %s of this release: run `interop migrate`",
                           f->name);
    }
    e = db_exec(d, "SELECT " MIGRATE_GRANTED, NULL, 0, &r, why);
    return e != ERR_OK || pg_cell_bool(&r, 0, 0) ? e : err_set(why, ERR_CONFIG, MIGRATE_NOT_GRANTED);
}

/* ---- applying ----------------------------------------------------------------------- */

static err record(db *d, const migrate_file *f, err_info *why)
{
    char sum[SHA256_HEX + 1];
    slice params[2];

    checksum_of(f, sum);
    params[0] = slice_of(f->name);
    params[1] = slice_of(sum);
    return db_exec(d, "INSERT INTO interop_migrations (name, checksum) VALUES ($1, $2)", params, 2, NULL, why);
}

/* A database that has the commissioned model from elsewhere is taken over: it
 * counts as the first migration. */
static err adopt_model(db *d, const migrate_report *report, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT to_regclass('public.interop_connectors') IS NOT NULL"
                    " AND NOT EXISTS (SELECT FROM interop_migrations)", NULL, 0, &r, why);

    if (e != ERR_OK || !pg_cell_bool(&r, 0, 0)) return e;
    e = record(d, &migrate_files[0], why);
    if (e == ERR_OK) migrate_say(report, "%s: the data model is there already, taken over", migrate_files[0].name);
    return e;
}

/* One whose first line says so is no transaction. */
static bool is_stepwise(const migrate_file *f) { return slice_starts(migrate_text(f), slice_lit("-- no transaction\n")); }

/* Each statement by itself, each to the end of a line. What is done of them is done once more by the next attempt. */
static err apply_stepwise(db *d, const migrate_file *f, const migrate_report *report, err_info *why)
{
    slice text = migrate_text(f);
    err e = ERR_OK;

    migrate_say(report, "%s: builds indexes while messages come in, which takes minutes where there are very many, "
                "and waits for transactions that are open now", f->name);
    while (e == ERR_OK && text.len > 0) {
        const char *end = strstr(text.ptr, ";\n");        /* a file has a NUL behind */
        slice statement = { text.ptr, end == NULL ? text.len : (size_t)(end + 2 - text.ptr) };
        e = db_script(d, statement, why);
        text = slice_from(text, statement.len);
    }
    if (e == ERR_OK) e = record(d, f, why);
    if (e != ERR_OK && why != NULL) (void)err_prefix(why, "%s, to be done again by `interop migrate`", f->name);
    return e;
}

static err apply(db *d, const migrate_file *f, err_info *why)
{
    err e = db_begin(d, SLICE_NONE, why);

    if (e != ERR_OK) return e;
    /* Who waits for a table's lock holds up all others that want it: better fail. */
    e = db_script(d, slice_lit("SET LOCAL search_path = public; SET LOCAL lock_timeout = '60s'"), why);
    if (e == ERR_OK) e = db_script(d, migrate_text(f), why);
    if (e == ERR_OK) e = record(d, f, why);
    if (e == ERR_OK) e = db_commit(d, why);
    if (e != ERR_OK) {
        db_rollback(d);
        if (why != NULL) (void)err_prefix(why, "%s, nothing of it was kept", f->name);
    }
    return e;
}

static err apply_missing(db *d, const migrate_report *report, err_info *why)
{
    int done = 0, before = 0;

    for (const migrate_file *f = migrate_files; f->name != NULL; f++) {
        char was[SHA256_HEX + 1], is[SHA256_HEX + 1];
        err e;
        if (!is_migration(f)) continue;
        e = applied_checksum(d, f->name, was, why);
        if (e != ERR_OK) return e;
        checksum_of(f, is);
        if (was[0] != '\0' && strcmp(was, is) != 0)
            return err_set(why, ERR_CONFIG, "%s was applied with other content (checksum %.12s…, here %.12s…): "
                           "an applied migration is never changed, add a new one", f->name, was, is);
        if (was[0] != '\0') { before++; continue; }
        e = is_stepwise(f) ? apply_stepwise(d, f, report, why) : apply(d, f, why);
        if (e != ERR_OK) return e;
        migrate_say(report, "%s: applied", f->name);
        done++;
    }
    if (done == 0) migrate_say(report, "the database is up to date (%d migrations)", before);
    return ERR_OK;
}

/* Until the session ends: a second `interop migrate` waits here. It asks again and again, for a statement that
 * waits is one for which CREATE INDEX CONCURRENTLY waits in its turn. */
static err take_lock(db *d, const migrate_report *report, err_info *why)
{
    static const struct timespec pause = { .tv_nsec = 200 * 1000 * 1000 };

    for (bool told = false;; told = true) {
        pg_result r;
        err e = db_exec(d, "SELECT pg_try_advisory_lock(" MIGRATE_LOCK ")", NULL, 0, &r, why);
        if (e != ERR_OK || pg_cell_bool(&r, 0, 0)) return e;
        if (!told) migrate_say(report, "waiting for another `interop migrate` to end");
        (void)nanosleep(&pause, NULL);
    }
}

static err migrate_tables(db *d, const migrate_report *report, err_info *why)
{
    err e = take_lock(d, report, why);

    if (e == ERR_OK)
        e = db_script(d, slice_lit("SET search_path = public; CREATE TABLE IF NOT EXISTS interop_migrations ("
                                   "name TEXT PRIMARY KEY, checksum TEXT NOT NULL,"
                                   " applied_at TIMESTAMPTZ NOT NULL DEFAULT NOW())"), why);
    if (e != ERR_OK && strcmp(db_sqlstate(d), "42501") == 0)
        return err_set(why, ERR_AUTH, "the role of INTEROP_OWNER_DATABASE_URL may not create tables in the schema "
                       "\"public\": let it own the database (ALTER DATABASE … OWNER TO …)");
    if (e == ERR_OK) e = refuse_newer(d, why);
    if (e == ERR_OK) e = adopt_model(d, report, why);
    return e == ERR_OK ? apply_missing(d, report, why) : e;
}

/* The engine must really get in, into this very database. */
static err try_engine(const char *engine_url, err_info *why)
{
    db *d;
    err e = db_open(engine_url, "interop migrate", &d, why);

    if (e == ERR_OK) e = migrate_check(d, why);
    if (e != ERR_OK && why != NULL) (void)err_prefix(why, "as the engine's role");
    db_close(d);
    return e;
}

err migrate_run(const char *owner_url, const char *engine_url, const migrate_report *report, err_info *why)
{
    bool engine = engine_url[0] != '\0', exists;
    migrate_role role = { SLICE_NONE, SLICE_NONE };
    arena mem;
    db *d = NULL;
    err e;

    arena_init(&mem);
    e = engine ? migrate_role_of(&mem, engine_url, &role, why) : ERR_OK;
    if (e == ERR_OK) e = db_open(owner_url, "interop migrate", &d, why);
    if (e == ERR_OK && engine) e = migrate_role_check(d, &role, &exists, why);
    if (e == ERR_OK) e = migrate_role_system(d, report, why);
    if (e == ERR_OK) e = migrate_tables(d, report, why);
    if (e == ERR_OK && engine) e = migrate_role_grant(d, &role, report, why);
    if (e == ERR_OK && engine) e = try_engine(engine_url, why);
    db_close(d);
    arena_free(&mem);
    return e;
}

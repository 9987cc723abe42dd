/* demo/store.c -- one connection installs the schema, a few others work.
 *
 * The installer stays: should the database come back as another one, it installs
 * again. Its statement does nothing when the schema is as this program wants it. */
#include "demo/store.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "crypt/digest.h"
#include "demo/schema.h"

enum { MAX_CONNECTIONS = 16, MAX_SCHEMA = 40, TRIES = 8 };

typedef struct member {                  /* a connection of the pool */
    demo_store *store;
    pg         *conn;
} member;

struct demo_store {
    uv_loop_t    *loop;
    arena         mem;
    const char   *url;
    char          schema[MAX_SCHEMA + 1];
    const char   *quoted;                /* it may be called like a keyword */
    pg           *installer;
    const char   *install[2];            /* its one command, NULL-terminated */
    bool          installed, told;       /* `told` what demo_store_ready was at the last log line */
    member        pool[MAX_CONNECTIONS];
    int           count, opened;
    pg_statement  statements[DEMO_FUNCTIONS];
    const pg_statement *table[DEMO_FUNCTIONS + 1];
    err_info      said;                  /* the last complaint, so that it is logged once */
    int           closing;               /* connections that are still to close */
    void        (*closed)(void *arg);
    void         *closed_arg;
};

static const struct { const char *name, *sql; int params; } functions[DEMO_FUNCTIONS] = {
    [DEMO_WRITE]   = { "demo_write",   "SELECT * FROM %s.write($1, $2, $3)", 3 },
    [DEMO_READ]    = { "demo_read",    "SELECT * FROM %s.read($1, $2, $3)", 3 },
    [DEMO_HISTORY] = { "demo_history", "SELECT * FROM %s.history($1, $2, $3)", 3 },
    [DEMO_COUNT]   = { "demo_count",   "SELECT %s.count_matches($1, $2, $3, $4)", 4 },
    [DEMO_SEARCH]  = { "demo_search",  "SELECT * FROM %s.search($1, $2, $3, $4, $5, $6, $7, $8)", 8 },
};

/* ---- the schema ------------------------------------------------------------- */

/* Functions of an older text are dropped first, since one whose result changed cannot be
 * replaced. The tables are made once; their text says IF NOT EXISTS. */
static const char *install_text(demo_store *s)
{
    static const char form[] =
        "DO $demo_install$\n"
        "DECLARE\n"
        "  known text;\n"
        "  f regprocedure;\n"
        "BEGIN\n"
        "  PERFORM pg_advisory_xact_lock(hashtextextended('fhir-demo %s', 0));\n"
        "  IF to_regclass('%s.installed') IS NOT NULL THEN\n"
        "    SELECT digest INTO known FROM %s.installed;\n"
        "  END IF;\n"
        "  IF known IS DISTINCT FROM '%s' THEN\n"
        "    CREATE SCHEMA IF NOT EXISTS %s;\n"
        "    FOR f IN SELECT oid FROM pg_proc WHERE pronamespace = '%s'::regnamespace LOOP\n"
        "      EXECUTE 'DROP FUNCTION ' || f || ' CASCADE';\n"
        "    END LOOP;\n"
        "    PERFORM set_config('search_path', '%s', true);\n"
        "    EXECUTE $demo_store$%.*s$demo_store$;\n"
        "    DELETE FROM installed;\n"
        "    INSERT INTO installed VALUES ('%s');\n"
        "  END IF;\n"
        "END $demo_install$";
    char hex[SHA256_HEX + 1];
    slice text = demo_schema();
    sha256 sum = sha256_of(text);
    const char *n = s->quoted;
    buf sql = buf_in(&s->mem);

    (void)sha256_hex(&sum, hex);
    buf_printf(&sql, form, n, n, n, hex, n, n, n, (int)text.len, text.ptr, hex);
    buf_putc(&sql, '\0');
    return sql.ptr;
}

bool demo_store_ready(const demo_store *s)
{
    if (!s->installed) return false;
    for (int i = 0; i < s->opened; i++) {
        if (pg_is_ready(s->pool[i].conn)) return true;
    }
    return false;
}

/* One line when the store comes or goes, and one for each new complaint. */
static void tell(demo_store *s, const err_info *why)
{
    bool ready = demo_store_ready(s);

    if (ready && !s->told) {
        s->said = (err_info){ 0 };
        log_line(LOG_INFO, "demo.database_ready", log_id("schema", slice_of(s->schema)));
    } else if (!ready && why->text[0] != '\0' && strcmp(why->text, s->said.text) != 0) {
        s->said = *why;
        log_line(LOG_WARN, "demo.database_unavailable", log_id("schema", slice_of(s->schema)), log_why(why));
    }
    s->told = ready;
}

static void on_member_ready(void *arg, bool ready, const err_info *why)
{
    member *m = arg;

    (void)ready;
    tell(m->store, why);
}

static void open_pool(demo_store *s)
{
    while (s->opened < s->count) {
        member *m = &s->pool[s->opened++];
        m->store = s;
        m->conn = pg_open(s->loop, &(pg_options){ .url = s->url, .application = "interop fhir-demo",
                                                  .statements = s->table, .ready = on_member_ready, .arg = m });
    }
}

static void on_installer_ready(void *arg, bool ready, const err_info *why)
{
    demo_store *s = arg;

    s->installed = s->installed || ready;
    if (ready) open_pool(s);
    tell(s, why);
}

static bool schema_valid(slice name)
{
    if (name.len == 0 || name.len > MAX_SCHEMA || (name.ptr[0] >= '0' && name.ptr[0] <= '9')) return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
    }
    return !slice_starts(name, slice_lit("pg_"));
}

err demo_store_open(uv_loop_t *loop, const char *url, const char *schema, int connections,
                    demo_store **out, err_info *why)
{
    demo_store *s;

    if (!schema_valid(slice_of(schema)))
        return err_set(why, ERR_USAGE, "a schema's name has lower-case letters, digits and '_' only, at most %d",
                       MAX_SCHEMA);
    s = mem_zalloc(sizeof *s);
    s->loop = loop;
    s->url = url;
    s->count = connections < 1 ? 1 : connections > MAX_CONNECTIONS ? MAX_CONNECTIONS : connections;
    (void)slice_cstr(slice_of(schema), s->schema, sizeof s->schema);
    s->quoted = arena_printf(&s->mem, "\"%s\"", s->schema).ptr;
    for (int i = 0; i < DEMO_FUNCTIONS; i++) {
        buf sql = buf_in(&s->mem);
        slice rest = slice_of(functions[i].sql), head = slice_cut(rest, '%', &rest);
        buf_put(&sql, head);
        buf_puts(&sql, s->quoted);
        buf_put(&sql, slice_from(rest, 1));
        buf_putc(&sql, '\0');
        s->statements[i] = (pg_statement){ functions[i].name, sql.ptr };
        s->table[i] = &s->statements[i];
    }
    s->install[0] = install_text(s);
    s->installer = pg_open(loop, &(pg_options){ .url = url, .application = "interop fhir-demo",
                                                .on_connect = s->install, .ready = on_installer_ready,
                                                .arg = s });
    *out = s;
    return ERR_OK;
}

/* ---- work ------------------------------------------------------------------- */

typedef struct run {
    demo_store      *store;
    const demo_call *calls;
    int              count, tries;
    pg_done          done;
    void            *arg;
} run;

static void run_submit(run *r);

/* Deadlocks, and two that made the same resource at once: the second try sees the first
 * one's work. */
static bool may_try_again(const char *sqlstate)
{
    static const char *const states[] = { "40P01", "40001", "23505" };

    for (size_t i = 0; i < countof(states); i++) {
        if (strcmp(sqlstate, states[i]) == 0) return true;
    }
    return false;
}

static void on_done(void *arg, err e, const pg_result *results, int count, const char *sqlstate,
                    const err_info *why)
{
    run *r = arg;

    if (e == ERR_STORE && r->tries < TRIES && may_try_again(sqlstate)) {
        run_submit(r);
        return;
    }
    r->done(r->arg, e, results, count, sqlstate, why);
    free(r);
}

static pg *least_busy(const demo_store *s)
{
    const member *best = &s->pool[0];

    for (int i = 1; i < s->opened; i++) {
        const member *m = &s->pool[i];
        bool ready = pg_is_ready(m->conn);
        if (ready != pg_is_ready(best->conn) ? ready : pg_waiting(m->conn) < pg_waiting(best->conn)) best = m;
    }
    return best->conn;
}

static void run_submit(run *r)
{
    pg_unit *u = pg_unit_new(least_busy(r->store));

    r->tries++;
    for (int i = 0; i < r->count; i++) {
        demo_function f = r->calls[i].function;
        pg_unit_add(u, &r->store->statements[f], r->calls[i].params, functions[f].params);
    }
    pg_submit(u, on_done, r);
}

void demo_store_run(demo_store *s, const demo_call *calls, int count, pg_done done, void *arg)
{
    run *r = mem_zalloc(sizeof *r);

    if (s->opened == 0) die("demo: work for a store that is not open");
    *r = (run){ .store = s, .calls = calls, .count = count, .done = done, .arg = arg };
    run_submit(r);
}

/* ---- the end ---------------------------------------------------------------- */

static void on_closed(void *arg)
{
    demo_store *s = arg;

    if (--s->closing > 0) return;
    s->closed(s->closed_arg);
    arena_free(&s->mem);
    free(s);
}

void demo_store_close(demo_store *s, void (*done)(void *arg), void *arg)
{
    s->closed = done;
    s->closed_arg = arg;
    s->closing = 1 + s->opened;
    for (int i = 0; i < s->opened; i++) pg_close(s->pool[i].conn, on_closed, s);
    pg_close(s->installer, on_closed, s);
}

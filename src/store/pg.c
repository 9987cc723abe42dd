/* store/pg.c -- one connection in pipeline mode: connect, prepare, send units,
 * take their results in the order in which they were sent.
 *
 * Only pg_enter() assigns c->state. The socket can change while libpq connects
 * (it tries one host after the other), so the poll handle is made anew whenever
 * PQsocket does. A callback never closes the poll handle that is calling it:
 * what broke is noted, and the timer takes the connection down from the loop. */
#include "store/pg.h"

#include <libpq-fe.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/advice.h"
#include "store/conninfo.h"
#include "store/home.h"

typedef enum { PG_WAITING, PG_RESOLVING, PG_CONNECTING, PG_PREPARING, PG_READY, PG_CLOSED } pg_state;

enum { MAX_ON_WIRE = 8, MAX_STATEMENTS = 512, FIRST_BACKOFF_MS = 50, LAST_BACKOFF_MS = 2000, READ_ONLY_MS = 500,
       CONNECT_MS = 15000, CONNECT_NEXT_MS = 4000, PATROL_MS = 500 };

typedef struct pg_stmt {
    const char     *name, *sql;          /* name NULL: not prepared */
    const pg_param *params;
    int             count;
} pg_stmt;

struct pg_unit {
    list      link;
    pg       *conn;
    arena     mem;
    pg_stmt  *stmts;
    int       count, room;
    pg_result *results;
    int       got;                       /* results so far */
    bool      failed, doubtful;          /* an error; a warning that the commit may not last */
    char      sqlstate[6];
    err_info  why;
    pg_done   done;
    void     *arg;
};

struct pg {
    pg_state    state;
    home_member home;                    /* its heard_ns: also when what is on the wire began to wait */
    uv_loop_t  *loop;
    pg_options  opt;
    conninfo   *info;
    PGconn     *conn;
    uv_poll_t  *poll;                    /* on the heap: it is closed while a new one is opened */
    int         watched;                 /* the events that it was started for */
    int         socket;
    uv_timer_t  timer;
    list        queued, sent;            /* units */
    int         on_wire, waiting;
    uint64_t    backoff_ms;
    uint64_t    patience_ms;
    bool        overdue;                 /* it was too late when last looked at */
    bool        dying;                   /* lost, the timer will take it down */
    err_info    why;
    void      (*closed)(void *arg);
    void       *closed_arg;
};

static void pg_enter(pg *c, pg_state next);
static void pg_pump(pg *c);
static void on_timer(uv_timer_t *t);

/* ---- units ------------------------------------------------------------------ */

pg_unit *pg_unit_new(pg *c)
{
    pg_unit *u = mem_zalloc(sizeof *u);
    u->conn = c;
    list_init(&u->link);
    return u;
}

arena *pg_unit_arena(pg_unit *u) { return &u->mem; }

static void unit_add(pg_unit *u, pg_stmt st)
{
    if (u->count == MAX_STATEMENTS) die("pg: more than %d statements in a unit", MAX_STATEMENTS);
    if (u->count == u->room) {
        u->room = u->room == 0 ? 4 : u->room * 2;
        pg_stmt *grown = arena_array(&u->mem, pg_stmt, (size_t)u->room);
        if (u->count > 0) memcpy(grown, u->stmts, sizeof *grown * (size_t)u->count);
        u->stmts = grown;
    }
    u->stmts[u->count++] = st;
}

void pg_unit_add(pg_unit *u, const pg_statement *st, const pg_param *params, int count)
{
    unit_add(u, (pg_stmt){ st->name, st->sql, params, count });
}

void pg_unit_sql(pg_unit *u, const char *sql, const pg_param *params, int count)
{
    unit_add(u, (pg_stmt){ NULL, sql, params, count });
}

static void unit_clear_results(pg_unit *u)
{
    for (int i = 0; i < u->got; i++) PQclear(u->results[i].pg);
    u->got = 0;
}

static void unit_finish(pg_unit *u, err e, const err_info *why)
{
    u->conn->waiting--;
    u->done(u->arg, e, u->results, u->got, u->sqlstate, why);
    unit_clear_results(u);
    arena_free(&u->mem);
    free(u);
}

void pg_submit(pg_unit *u, pg_done done, void *arg)
{
    pg *c = u->conn;

    u->done = done;
    u->arg = arg;
    u->results = arena_array(&u->mem, pg_result, (size_t)u->count);
    c->waiting++;
    list_push(&c->queued, &u->link);
    if (c->state == PG_READY) pg_pump(c);
}

bool pg_is_ready(const pg *c) { return c->state == PG_READY && !c->dying; }
size_t pg_waiting(const pg *c) { return (size_t)c->waiting; }

static uint64_t quiet_ms(const pg *c)
{
    return list_empty(&c->sent) ? 0 : (clock_ns() - c->home.heard_ns) / 1000000;
}

bool pg_answers(const pg *c, err_info *why)
{
    uint64_t quiet = quiet_ms(c);

    if (c->state == PG_READY && quiet < c->patience_ms / 6) return true;
    if (why != NULL && c->state == PG_READY)
        (void)err_set(why, ERR_TIMEOUT, "no answer for %.1f s: PostgreSQL hangs, or waits for a lock, its disk or its "
                      "synchronous standby", (double)quiet / 1000);
    else if (why != NULL)
        *why = c->why;
    return false;
}

/* ---- losing and coming back --------------------------------------------------- */

static void tell(pg *c, bool ready)
{
    if (c->opt.ready != NULL) c->opt.ready(c->opt.arg, ready, &c->why);
}

static void on_poll_closed(uv_handle_t *h) { free(h); }

static void poll_drop(pg *c)
{
    if (c->poll == NULL) return;
    (void)uv_poll_stop(c->poll);
    uv_close((uv_handle_t *)c->poll, on_poll_closed);
    c->poll = NULL;
    c->watched = 0;
    c->socket = -1;
}

static void pg_lost(pg *c)
{
    if (c->dying) return;
    if (c->conn != NULL && c->state == PG_CONNECTING) {
        const char *error = conninfo_error(c->conn);
        (void)err_set(&c->why, ERR_STORE_LOST, "%s; %s", error, conninfo_advice(error));
    } else if (c->conn != NULL) {
        (void)err_set(&c->why, ERR_STORE_LOST, "%s", conninfo_error(c->conn));
    }
    c->dying = true;
    if (c->poll != NULL) (void)uv_poll_stop(c->poll);
    c->watched = 0;
    uv_timer_start(&c->timer, on_timer, 0, 0);
}

/* From the timer: nothing of this connection is on the stack. */
static void pg_take_down(pg *c)
{
    list gone;

    c->dying = c->home.there = false;
    poll_drop(c);
    if (c->conn != NULL) PQfinish(c->conn);
    c->conn = NULL;
    list_init(&gone);
    list_splice(&gone, &c->sent);
    c->on_wire = 0;
    pg_enter(c, PG_WAITING);
    tell(c, false);
    for (list *l; (l = list_pop(&gone)) != NULL;)
        unit_finish(container_of(l, pg_unit, link), ERR_STORE_LOST, &c->why);
}

/* ---- sending and receiving ------------------------------------------------------ */

static void on_socket(uv_poll_t *p, int status, int events);

/* libuv asks the kernel twice for each start, also of what it does already. */
static bool pg_watch(pg *c, int events)
{
    if (c->watched == events) return true;
    c->watched = events;
    return uv_poll_start(c->poll, events, on_socket) == 0;
}

static bool pg_flush(pg *c)
{
    int rest = PQflush(c->conn);         /* 1: the socket is full */
    if (rest < 0) return false;
    return pg_watch(c, rest ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

static bool stmt_send(pg *c, const pg_stmt *st)
{
    const char **values = mem_alloc(sizeof *values * (size_t)(st->count + 1));
    int *lens = mem_alloc(sizeof *lens * (size_t)(st->count + 1));
    int *formats = mem_alloc(sizeof *formats * (size_t)(st->count + 1));
    int ok;

    for (int i = 0; i < st->count; i++) {
        values[i] = st->params[i].value;
        lens[i] = st->params[i].len;
        formats[i] = st->params[i].format;
    }
    ok = st->name != NULL
        ? PQsendQueryPrepared(c->conn, st->name, st->count, values, lens, formats, 0)
        : PQsendQueryParams(c->conn, st->sql, st->count, NULL, values, lens, formats, 0);
    free(values);
    free(lens);
    free(formats);
    return ok == 1;
}

static void pg_pump(pg *c)
{
    bool any = false;

    if (c->dying) return;
    while (c->on_wire < MAX_ON_WIRE && !list_empty(&c->queued)) {
        pg_unit *u = container_of(list_pop(&c->queued), pg_unit, link);
        bool ok = true;

        list_push(&c->sent, &u->link);
        if (c->on_wire++ == 0) c->home.heard_ns = clock_ns();
        any = true;
        for (int i = 0; ok && i < u->count; i++) ok = stmt_send(c, &u->stmts[i]);
        if (!ok || !PQpipelineSync(c->conn)) { pg_lost(c); return; }
    }
    if (any && !pg_flush(c)) pg_lost(c);
}

static void on_notice(void *arg, const PGresult *res)
{
    pg *c = arg;
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

    /* 'canceling wait for synchronous replication' comes as a warning behind a
     * commit that is not where it was promised to be (promise P1). */
    if (c->state == PG_READY && severity != NULL && strcmp(severity, "WARNING") == 0 && !list_empty(&c->sent))
        container_of(c->sent.next, pg_unit, link)->doubtful = true;
}

/* What a person may be told. PostgreSQL quotes the value that it could not take in the texts of
 * class 22 ("invalid input syntax for …: \"…\""), and values are patients' (promise P9). */
static void unit_explain(pg_unit *u, const char *text)
{
    if (strncmp(u->sqlstate, "22", 2) == 0)
        (void)err_set(&u->why, ERR_STORE, "PostgreSQL cannot store a value as it is (SQLSTATE %s)", u->sqlstate);
    else
        (void)err_set(&u->why, ERR_STORE, "%s", text == NULL ? "no error text" : text);
}

static void unit_take(pg_unit *u, PGresult *res)
{
    ExecStatusType st = PQresultStatus(res);

    if (st == PGRES_COMMAND_OK || st == PGRES_TUPLES_OK) {
        if (u->got < u->count) u->results[u->got++].pg = res;
        else PQclear(res);
        return;
    }
    if (st != PGRES_PIPELINE_ABORTED && !u->failed) {
        const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
        u->failed = true;
        (void)slice_cstr(slice_of(state == NULL ? "" : state), u->sqlstate, sizeof u->sqlstate);
        unit_explain(u, PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY));
    }
    PQclear(res);
}

static void unit_synced(pg *c)
{
    pg_unit *u = container_of(list_pop(&c->sent), pg_unit, link);
    bool read_only = u->failed && strcmp(u->sqlstate, "25006") == 0;

    c->on_wire--;
    if (u->doubtful) {
        (void)err_set(&u->why, ERR_STORE_LOST, "the commit is not confirmed by the synchronous standby");
        unit_finish(u, ERR_STORE_LOST, &u->why);
    } else if (u->failed) {
        unit_clear_results(u);
        unit_finish(u, ERR_STORE, &u->why);
    } else {
        unit_finish(u, ERR_OK, &u->why);
    }
    /* After a failover perhaps, and the one to write to is found by connecting again. */
    if (read_only && c->state == PG_READY) {
        pg_lost(c);
        c->backoff_ms = READ_ONLY_MS;
        (void)err_set(&c->why, ERR_STORE_LOST, "PostgreSQL takes no writes: %s", advice_for("25006"));
    }
}

static void take_notifications(pg *c)
{
    for (PGnotify *n; c->conn != NULL && (n = PQnotifies(c->conn)) != NULL; PQfreemem(n))
        if (c->opt.notified != NULL) c->opt.notified(c->opt.arg, slice_of(n->relname), slice_of(n->extra));
}

static void pg_receive(pg *c)
{
    while (!list_empty(&c->sent) && !PQisBusy(c->conn) && !c->dying) {
        PGresult *res = PQgetResult(c->conn);
        if (res == NULL) {
            if (PQstatus(c->conn) == CONNECTION_BAD) { pg_lost(c); return; }
            continue;                    /* between two statements */
        }
        if (PQresultStatus(res) == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            unit_synced(c);
        } else {
            /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it loses track of what is linked */
            unit_take(container_of(c->sent.next, pg_unit, link), res);
        }
    }
    take_notifications(c);
}

/* ---- connecting -------------------------------------------------------------------- */

static void on_prepared(void *arg, err e, const pg_result *results, int count,
                        const char *sqlstate, const err_info *why)
{
    pg *c = arg;

    (void)results; (void)count;
    if (c->state != PG_PREPARING) return;
    if (e == ERR_OK) {
        pg_enter(c, PG_READY);
    } else if (e == ERR_STORE) {         /* not migrated, no right to it, a standby, … */
        const char *advice = advice_for(sqlstate);
        (void)err_set(&c->why, ERR_STORE, "%s%s%s", why->text, advice == NULL ? "" : ": ", advice == NULL ? "" : advice);
        c->dying = true;
        uv_timer_start(&c->timer, on_timer, 0, 0);
    }
}

/* What a connection of before left behind may still hold locks, or even begin with what it was sent: it
 * ends. But not its wait for the standby, behind which nothing is changed any more: what is sent again
 * waits for that. */
static const char end_predecessors[] =
    "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE usename = current_user AND pid <> pg_backend_pid()"
    " AND application_name = current_setting('application_name') AND wait_event IS DISTINCT FROM 'SyncRep'";

/* A unit of PREPAREs as SQL text would need quoting; libpq's own message does not. */
static bool prepare_all(pg *c)
{
    pg_unit *u = pg_unit_new(c);

    u->done = on_prepared;
    u->arg = c;
    c->waiting++;
    c->on_wire++;
    list_push(&c->sent, &u->link);
    c->home.heard_ns = clock_ns();
    if (!PQsendQueryParams(c->conn, end_predecessors, 0, NULL, NULL, NULL, NULL, 0)) return false;
    for (int i = 0; c->opt.statements != NULL && c->opt.statements[i] != NULL; i++)
        if (!PQsendPrepare(c->conn, c->opt.statements[i]->name, c->opt.statements[i]->sql, 0, NULL))
            return false;
    for (int i = 0; c->opt.on_connect != NULL && c->opt.on_connect[i] != NULL; i++)
        if (!PQsendQueryParams(c->conn, c->opt.on_connect[i], 0, NULL, NULL, NULL, NULL, 0)) return false;
    return PQpipelineSync(c->conn) == 1 && pg_flush(c);
}

static void follow_socket(pg *c, PostgresPollingStatusType want)
{
    int fd = PQsocket(c->conn);

    if (fd != c->socket) {
        poll_drop(c);
        c->poll = mem_zalloc(sizeof *c->poll);
        c->poll->data = c;
        c->socket = fd;
        if (uv_poll_init(c->loop, c->poll, fd) != 0) {
            free(c->poll);
            c->poll = NULL;
            pg_lost(c);
            return;
        }
    }
    c->watched = 0;                      /* libpq may have another socket of the same number */
    if (!pg_watch(c, want == PGRES_POLLING_READING ? UV_READABLE : UV_WRITABLE)) pg_lost(c);
}

static void connect_go_on(pg *c)
{
    PostgresPollingStatusType want = PQconnectPoll(c->conn);

    if (want == PGRES_POLLING_FAILED) pg_lost(c);
    else if (want == PGRES_POLLING_OK) pg_enter(c, PG_PREPARING);
    else follow_socket(c, want);
}

static void on_socket(uv_poll_t *p, int status, int events)
{
    pg *c = p->data;

    if (c->dying) return;
    if (c->state == PG_CONNECTING) { connect_go_on(c); return; }
    if (status < 0 || ((events & UV_READABLE) && !PQconsumeInput(c->conn))) {
        pg_lost(c);
        return;
    }
    if (events & UV_READABLE) c->home.heard_ns = clock_ns();
    pg_receive(c);
    if (c->dying) return;
    if (c->state == PG_READY) pg_pump(c);
    if (!c->dying && c->conn != NULL && !pg_flush(c)) pg_lost(c);
}

static void on_resolved(void *arg, err e, const err_info *why)
{
    pg *c = arg;

    if (c->state != PG_RESOLVING) return;
    if (e != ERR_OK) { c->why = *why; pg_enter(c, PG_WAITING); tell(c, false); return; }
    pg_enter(c, PG_CONNECTING);
}

/* Looked at twice: this process itself may have been held, and the answer be there to be read. */
static void patrol(pg *c)
{
    bool late = quiet_ms(c) > c->patience_ms + c->patience_ms / 2;

    if (late && c->overdue) {
        (void)err_set(&c->why, ERR_TIMEOUT, "no answer for %llu s: PostgreSQL hangs, or waits for its disk or its "
                      "synchronous standby", (unsigned long long)(quiet_ms(c) / 1000));
        c->dying = true;
    }
    c->overdue = late;
    if (!c->dying && home_moved(&c->home)) {
        (void)err_set(&c->why, ERR_STORE_LOST, "PostgreSQL is at another host now");
        c->dying = true;
    }
}

static void on_timer(uv_timer_t *t)
{
    pg *c = container_of(t, pg, timer);

    if (!c->dying && c->state == PG_READY) patrol(c);
    if (!c->dying && (c->state == PG_CONNECTING || c->state == PG_PREPARING)) {
        if (c->state == PG_CONNECTING) home_silent(&c->home);
        (void)err_set(&c->why, ERR_TIMEOUT, "the database accepts connections, but does not answer");
        c->dying = true;
    }
    if (c->dying) pg_take_down(c);
    else if (c->state == PG_WAITING) pg_enter(c, PG_RESOLVING);
}

static void pg_enter(pg *c, pg_state next)
{
    c->state = next;
    switch (next) {
    case PG_WAITING:
        uv_timer_start(&c->timer, on_timer, c->backoff_ms, 0);
        c->backoff_ms = c->backoff_ms * 2 > LAST_BACKOFF_MS ? LAST_BACKOFF_MS : c->backoff_ms * 2;
        return;
    case PG_RESOLVING:
        conninfo_resolve(c->info, c->loop, on_resolved, c);
        return;
    case PG_CONNECTING:
        /* PQconnectPoll has no timeout of its own, neither for one place nor for all of them. */
        uv_timer_start(&c->timer, on_timer, conninfo_several(c->info) ? CONNECT_NEXT_MS : CONNECT_MS, 0);
        c->conn = conninfo_start(c->info, home_begin(&c->home, c->info), c->patience_ms);
        if (c->conn == NULL || PQstatus(c->conn) == CONNECTION_BAD) { pg_lost(c); return; }
        (void)PQsetNoticeReceiver(c->conn, on_notice, c);
        follow_socket(c, PGRES_POLLING_WRITING);
        return;
    case PG_PREPARING:
        uv_timer_start(&c->timer, on_timer, CONNECT_MS, 0);
        if (PQsetnonblocking(c->conn, 1) != 0 || !PQenterPipelineMode(c->conn) || !prepare_all(c))
            pg_lost(c);
        return;
    case PG_READY:
        uv_timer_start(&c->timer, on_timer, PATROL_MS, PATROL_MS);
        c->overdue = false;
        if (!home_settle(&c->home, c->conn)) { pg_lost(c); return; }
        c->backoff_ms = FIRST_BACKOFF_MS;
        c->why = (err_info){ 0 };
        tell(c, true);
        pg_pump(c);
        return;
    case PG_CLOSED:
        return;
    }
}

const char *pg_instance(void)
{
    static char digits[9];               /* asked first before there are threads */
    uint32_t n;

    if (digits[0] != '\0') return digits;
    if (getrandom(&n, sizeof n, 0) != (ssize_t)sizeof n) die("getrandom failed");
    (void)snprintf(digits, sizeof digits, "%08x", n);
    return digits;
}

static uint64_t patience_ms = 30000;

void pg_set_patience(uint64_t ms) { patience_ms = ms; }

pg *pg_open(uv_loop_t *loop, const pg_options *options)
{
    pg *c = mem_zalloc(sizeof *c);
    static atomic_uint opened;
    char application[64];

    c->loop = loop;
    c->opt = *options;
    (void)snprintf(application, sizeof application, "%s %s %u", options->application, pg_instance(),
                   atomic_fetch_add(&opened, 1));
    c->info = conninfo_new(options->url, application);
    c->socket = -1;
    c->backoff_ms = FIRST_BACKOFF_MS;
    c->patience_ms = patience_ms;
    home_join(&c->home, options->url);
    list_init(&c->queued);
    list_init(&c->sent);
    if (uv_timer_init(loop, &c->timer) != 0) die("uv_timer_init failed");
    c->timer.timer_cb = on_timer;        /* it is started with its own callback from many places */
    pg_enter(c, PG_RESOLVING);
    return c;
}

static void refuse_units(list *units)
{
    static const err_info closed = { ERR_CLOSED, "the store is closed" };

    for (list *l; (l = list_pop(units)) != NULL;) unit_finish(container_of(l, pg_unit, link), ERR_CLOSED, &closed);
}

static void on_closed(uv_handle_t *h)
{
    pg *c = container_of((uv_timer_t *)h, pg, timer);
    void (*closed)(void *) = c->closed;
    void *arg = c->closed_arg;

    refuse_units(&c->queued);            /* those that came too late */
    conninfo_free(c->info);
    free(c);
    closed(arg);
}

void pg_close(pg *c, void (*done)(void *arg), void *arg)
{
    list gone;

    c->closed = done;
    c->closed_arg = arg;
    list_init(&gone);
    list_splice(&gone, &c->sent);
    list_splice(&gone, &c->queued);
    c->state = PG_CLOSED;
    home_leave(&c->home);
    c->dying = false;
    poll_drop(c);
    if (c->conn != NULL) PQfinish(c->conn);
    c->conn = NULL;
    refuse_units(&gone);
    uv_close((uv_handle_t *)&c->timer, on_closed);
}

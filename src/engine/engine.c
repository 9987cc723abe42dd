/* engine/engine.c -- puts the parts together, learns of changes, and stops in order.
 *
 * Start: connect; check the server; become a node of the database; listen for changes; load
 * connectors. What the database says is read again whenever the connection that hears of
 * changes was lost. */
#include "engine/engine.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/inside.h"
#include "engine/stream.h"
#include "store/migrate_files.h"

#define TELL_AGAIN_NS UINT64_C(3000000000)

enum { TICK_MS = 1000, CONNECTIONS_PER_HOST = 64, STORING_HIGH = 8192, STORING_LOW = 2048 };

/* ---- configuration: loading and hearing of changes ------------------------------------------ */

/* At the next tick, so that an error that lasts is not asked about without a pause. */
static void load_later(engine *e, const err_info *why)
{
    log_line(LOG_WARN, "engine.load_failed", log_why(why), log_word("then", "tried again"));
    e->load_again = true;
}

static void on_connectors(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    engine *eng = arg;

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED || eng->closing) return;
    eng->loading--;
    if (e != ERR_OK) { load_later(eng, why); return; }
    for (int i = 0; i < pg_rows(&results[1]); i++) connector_apply(eng, &results[1], i);
    if (eng->loaded) node_soon(eng->node);
    if (eng->loading == 0 && !eng->loaded) {
        eng->loaded = true;
        node_soon(eng->node);
        log_line(LOG_INFO, "engine.ready", log_int("connectors", (int64_t)eng->connectors.count));
    }
}

static void on_connector_ids(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    engine *eng = arg;
    slice last = SLICE_NONE;

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED || eng->closing) return;
    if (e != ERR_OK) { load_later(eng, why); return; }
    eng->loading++;
    for (int i = 0; i < pg_rows(&results[0]); i++) {     /* ordered by tenant */
        slice tenant = pg_cell(&results[0], i, 0);
        if (last.ptr != NULL && slice_eq(last, tenant)) continue;
        last = tenant;
        eng->loading++;
        feed_connectors(eng->feed, tenant, SLICE_NONE, on_connectors, eng);
    }
    eng->loading--;
    if (pg_rows(&results[0]) == 0 && !eng->loaded) {
        eng->loaded = true;
        node_soon(eng->node);
        log_line(LOG_INFO, "engine.ready", log_int("connectors", 0));
    }
}

static void load_all(engine *e)
{
    e->load_again = false;
    feed_connector_ids(e->feed, on_connector_ids, e);
}

/* A node's writer has stored messages of a connector that may be run here. */
static void on_heard(void *arg, slice connector_id, slice writer_name, int64_t seq)
{
    connector *c = connector_find(arg, connector_id);
    if (c != NULL) connector_heard(c, writer_name, seq);
}

/* "message:TENANT:MSG_…", "stored:TENANT:CONN_…", "quarantine:TENANT:QTN_…", "interop_connectors:TENANT:CONN_…";
 * a tenant may hold colons, an id does not. */
static void split_work(slice payload, slice *kind, slice *tenant, slice *object)
{
    size_t last;

    *kind = slice_cut(payload, ':', tenant);
    for (last = tenant->len; last > 0 && tenant->ptr[last - 1] != ':';) last--;
    *object = slice_from(*tenant, last);
    if (last > 0) tenant->len = last - 1;
}

static void on_work(engine *e, slice payload)
{
    slice kind, tenant, object;

    split_work(payload, &kind, &tenant, &object);
    if (slice_is(kind, "message")) {
        connector_take(e, tenant, object);
    } else if (slice_is(kind, "stored")) {               /* object: CONN_…/writer/base */
        slice rest, connector_id = slice_cut(object, '/', &rest), base, writer_name = slice_cut(rest, '/', &base);
        int64_t seq;
        if (slice_int(base, &seq)) on_heard(e, connector_id, writer_name, seq);
    } else if (slice_is(kind, "quarantine")) {
        released_take(e, tenant, object);
    }
}

static void on_notified(void *arg, slice channel, slice payload)
{
    engine *e = arg;
    slice kind, tenant, object;

    if (!e->joined || e->closing) return;
    if (slice_is(channel, "interop_work")) { on_work(e, payload); return; }
    split_work(payload, &kind, &tenant, &object);
    if (slice_is(kind, "interop_connectors")) {
        e->loading++;
        feed_connectors(e->feed, tenant, object, on_connectors, e);
    } else {
        list_each(l, &e->connector_list) connector_load_routes(container_of(l, connector, link));
    }
}

static void on_ears_ready(void *arg, bool ready, const err_info *why)
{
    engine *e = arg;

    (void)why;
    if (!ready || !e->joined || e->closing) return;
    load_all(e);
    list_each(l, &e->connector_list) {
        connector *c = container_of(l, connector, link);
        connector_load_routes(c);
        c->writer_count = 0;             /* the sequence may have gone back: what they stored is among what is read */
        connector_reread(c);
        released_look(c);
    }
}

/* ---- the server --------------------------------------------------------------------------------- */

static bool says_on(slice setting) { return slice_is(setting, "on"); }

static void on_tick(uv_timer_t *t);

/* Work begins with the first time; a node that was fenced goes on under another name. */
void engine_joined(engine *e, const id *node_id, bool first)
{
    static const char *const listens[] = { "LISTEN interop_config", "LISTEN interop_work", NULL };
    const config *cfg = e->cfg;
    pg_options ears = { .url = cfg->database_url, .application = "interop listen", .on_connect = listens,
                        .ready = on_ears_ready, .notified = on_notified, .arg = e };

    if (!first) {
        ingest_as(e->in, node_id);
        return;
    }
    if (!e->failover_safe)
        log_line(LOG_INFO, "store.no_synchronous_standby", log_word("means", "a failover of PostgreSQL may lose acknowledged messages"));
    e->in = ingest_open(e->loop, cfg->database_url, (unsigned)cfg->ingest_connections, on_heard, e);
    e->out = outcome_open(e->loop, cfg->database_url, (unsigned)cfg->result_connections);
    ingest_as(e->in, node_id);
    ingest_begin_behind(e->in, e->begin_seq);
    e->joined = true;
    e->ears = pg_open(e->loop, &ears);
    e->relay = cfg->nats_url[0] == '\0' ? NULL : relay_open(e->loop, e->feed, cfg->nats_url, cfg->event_window_hours);
}

/* Not ready, and asked again. */
static void wait_for_others(engine *e, const char *why)
{
    if (e->waits_for == NULL || strcmp(e->waits_for, why) != 0) log_line(LOG_WARN, "engine.waits", log_word("error", why));
    e->waits_for = why;
}

static void on_server(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    engine *eng = arg;

    (void)count; (void)sqlstate;
    eng->checking = false;
    if (e == ERR_STORE && !eng->told_check) log_line(LOG_ERROR, "engine.check_failed", log_why(why), log_word("then", "tried again"));
    eng->told_check = e == ERR_STORE;
    if (e != ERR_OK || eng->closing) return;
    if (!says_on(pg_cell(&results[0], 0, SERVER_FSYNC)) || !says_on(pg_cell(&results[0], 0, SERVER_PAGES))) {
        (void)err_set(&eng->fatal, ERR_CONFIG, "PostgreSQL runs with fsync or full_page_writes off: "
                      "acknowledged messages could be lost; switch both on and start again");
        return;
    }
    if (pg_cell_bool(&results[0], 0, SERVER_ROLE_UNSAFE)) {
        (void)err_set(&eng->fatal, ERR_CONFIG, "the role of INTEROP_DATABASE_URL is a superuser or bypasses row-level "
                      "security: name a plain role (interop migrate makes one)");
        return;
    }
    pulse_says(eng, pg_cell(&results[0], 0, SERVER_STANDBYS).len > 0);
    if (!pg_cell_bool(&results[0], 0, SERVER_LOCKED)) {
        if (eng->joined) {
            (void)err_set(&eng->fatal, ERR_CONFLICT, "an engine of an older release took this database over while the connection was lost");
        } else {
            wait_for_others(eng, "an engine of an older release works on this database; this one begins when it ends");
        }
        return;
    }
    if (!pg_cell_bool(&results[0], 0, SERVER_GRANTED)) {
        wait_for_others(eng, MIGRATE_NOT_GRANTED);
        return;
    }
    eng->waits_for = NULL;
    eng->checked = true;
    if (!eng->joined) eng->begin_seq = pg_cell_int(&results[0], 0, SERVER_SEQ);
    node_begin(eng->node);
}

static void check_server(engine *e)
{
    if (e->checking || e->closing) return;
    e->checking = true;
    feed_server(e->feed, on_server, e);
}

static void on_feed_ready(void *arg, bool ready, const err_info *why)
{
    engine *e = arg;

    if (e->closing) return;
    e->checked = false;                  /* the lock went with the connection */
    if (ready) {
        if (e->store_why.text[0] != '\0') log_line(LOG_INFO, "store.ready");
        e->store_why = (err_info){ 0 };
        check_server(e);
    } else if (why->code == ERR_CONFIG) {                /* waiting does not mend a URL */
        e->fatal = *why;
    } else if (strcmp(e->store_why.text, why->text) != 0) {
        bool first = e->store_why.text[0] == '\0';

        /* A server that restarts gives a new reason every moment: they are told once in a while. */
        if (!first && clock_ns() - e->store_told_ns < TELL_AGAIN_NS) return;
        e->store_told_ns = clock_ns();
        e->store_why = *why;
        log_line(LOG_ERROR, "store.unavailable", log_why(why), log_word("then", "tried again until it answers"));
    }
}

/* ---- balance --------------------------------------------------------------------------------------- */

/* Only what is not stored yet counts: messages that wait for a target never stop intake. */
void engine_balance(engine *e)
{
    size_t storing = e->in == NULL ? 0 : ingest_waiting(e->in);
    bool high = storing > STORING_HIGH || e->storing > (size_t)e->cfg->memory_bytes;
    bool low = storing < STORING_LOW && e->storing < (size_t)e->cfg->memory_bytes / 2;

    if (e->paused ? !low : !high) return;
    e->paused = !e->paused;
    list_each(l, &e->connector_list) {
        connector *c = container_of(l, connector, link);
        if (c->server == NULL) continue;
        if (e->paused) mllp_server_pause(c->server);
        else mllp_server_resume(c->server);
    }
}

void engine_told(engine *e)
{
    if (e->relay != NULL) relay_wake(e->relay);
    if (e->woken != NULL) e->woken(e->woken_arg);
}

static void on_told(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    (void)results; (void)count; (void)sqlstate;
    if (e == ERR_OK) engine_told(arg);
    else if (e != ERR_CLOSED) log_line(LOG_WARN, "event.not_raised", log_why(why));
}

void engine_tell(connector *c, const char *event, slice about)
{
    arena mem = { 0 };
    buf data = buf_in(&mem);

    buf_puts(&data, "{\"about\":");
    buf_json(&data, about);
    buf_putc(&data, '}');
    feed_tell(c->e->feed, c->tenant, id_slice(&c->connector_id), event, buf_slice(&data), on_told, c->e);
    arena_free(&mem);
}

/* Changes are heard of as they are made; what was not heard, for whatever reason, is found here. */
static void look_at_all(engine *e)
{
    enum { EVERY_S = 30 };

    if (++e->ticks % EVERY_S != 0 || !e->loaded || !pg_is_ready(e->feed)) return;
    load_all(e);
    list_each(l, &e->connector_list) {
        connector *c = container_of(l, connector, link);
        connector_load_routes(c);
        if (!connector_busy(c)) connector_reread(c);
        connector_release(c);
        streams_release(c, false);
        released_look(c);
    }
}

static void on_tick(uv_timer_t *t)
{
    engine *e = container_of(t, engine, tick);

    if (pg_is_ready(e->feed) && !e->checked) check_server(e);
    else if (pg_is_ready(e->feed)) node_begin(e->node);
    node_tick(e->node);
    if (pg_is_ready(e->feed)) intake_again(e);
    pulse_tick(e);
    if (e->closing) { engine_close_step(e); return; }
    if (e->load_again && pg_is_ready(e->feed)) load_all(e);
    list_each(l, &e->connector_list) connector_tick(container_of(l, connector, link));
    if (e->loaded) watch_tick(e->watched);
    look_at_all(e);
    engine_balance(e);
}

static void on_soon(uv_idle_t *idle)
{
    engine *e = container_of(idle, engine, soon);

    (void)uv_idle_stop(idle);            /* it may be started again */
    list_each(l, &e->connector_list)
        if (container_of(l, connector, link)->soon) connector_soon(container_of(l, connector, link));
}

void engine_soon(connector *c)
{
    c->soon = true;
    if (!c->e->closing) (void)uv_idle_start(&c->e->soon, on_soon);
}

/* ---- questions ----------------------------------------------------------------------------------------- */

bool engine_ready(const engine *e, err_info *why)
{
    err_info store = { 0 };

    if (!pg_answers(e->feed, &store) ||
        (e->in != NULL && e->joined && (!ingest_is_ready(e->in, &store) || !outcome_is_ready(e->out, &store)))) {
        const char *text = store.text[0] != '\0' ? store.text : e->store_why.text;
        (void)err_set(why, ERR_STORE, "PostgreSQL is not available%s%s", text[0] == '\0' ? "" : ": ", text);
        return false;
    }
    if (!e->joined || !e->loaded || e->waits_for != NULL) {
        (void)err_set(why, ERR_STORE, "%s", e->waits_for != NULL ? e->waits_for
                      : e->joined ? "connectors are being loaded" : "the database is being looked at");
        return false;
    }
    return true;
}

bool engine_failover_safe(const engine *e) { return e->failover_safe; }

err engine_fatal(const engine *e, err_info *why)
{
    if (e->fatal.code != ERR_OK) *why = e->fatal;
    return e->fatal.code;
}

pg *engine_feed(engine *e) { return e->feed; }

void engine_measure(engine *e)
{
    int64_t now = clock_real_us();

    list_each(l, &e->connector_list) {
        connector *c = container_of(l, connector, link);
        int64_t oldest = now;
        list_each(k, &c->jobs) {
            const job *j = container_of(k, job, link);
            if (j->received_us > 0 && j->received_us < oldest) oldest = j->received_us;
        }
        metric_set(c->count.in_memory, (int64_t)c->job_count);
        metric_set(c->count.oldest, (now - oldest) / 1000000);
        metric_set(c->count.behind, c->behind || !aside_is_empty(&c->aside) || streams_wait(c));
        metric_set(c->count.connections, c->server == NULL ? 0 : mllp_server_connections(c->server));
    }
}

void engine_on_events(engine *e, void (*woken)(void *arg), void *arg)
{
    e->woken = woken;
    e->woken_arg = arg;
}

/* feed and quarantine statements share one connection. */
const pg_statement *const *engine_statements(void)
{
    static const pg_statement *all[64];
    size_t n = 0;

    for (size_t i = 0; feed_statements[i] != NULL; i++) all[n++] = feed_statements[i];
    for (size_t i = 0; quarantine_statements[i] != NULL; i++) all[n++] = quarantine_statements[i];
    for (size_t i = 0; nodes_statements[i] != NULL; i++) all[n++] = nodes_statements[i];
    all[n] = NULL;
    return all;
}

/* ---- start ------------------------------------------------------------------------------------------------ */

err engine_open(uv_loop_t *loop, const config *cfg, const char *lua_dir, engine **out, err_info *why)
{
    engine *e;

    if (cfg->database_url[0] == '\0')
        return err_set(why, ERR_CONFIG, "no database: set INTEROP_DATABASE_URL or database_url in the configuration file");
    e = mem_zalloc(sizeof *e);
    e->loop = loop;
    e->cfg = cfg;
    e->lua_dir = lua_dir;
    list_init(&e->connector_list);
    list_init(&e->unkept);
    list_init(&e->batches);
    list_init(&e->releasing);
    e->hash = digest_begin();
    pg_set_patience((uint64_t)cfg->database_patience);
    e->feed = pg_open(loop, &(pg_options){ .url = cfg->database_url, .application = "interop engine",
                                           .statements = engine_statements(), .ready = on_feed_ready, .arg = e });
    e->http = fetch_open(loop, CONNECTIONS_PER_HOST);
    e->pool = transform_open(loop, (unsigned)cfg->transform_threads, (size_t)cfg->script_bytes, flow_transformed, e);
    e->deliveries = deliver_open(e);
    e->watched = watch_open(e);
    e->node = node_new(e);
    e->waiters = waiters_new(e);
    if (uv_timer_init(loop, &e->tick) != 0 || uv_idle_init(loop, &e->soon) != 0) die("uv_timer_init failed");
    uv_timer_start(&e->tick, on_tick, TICK_MS, TICK_MS);
    *out = e;
    return ERR_OK;
}

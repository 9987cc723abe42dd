/* engine/connector.c -- configuration into a running connector: settings, listener, pack, routes. */
#include "engine/connector.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "engine/inside.h"
#include "engine/stream.h"

enum { LISTEN_AGAIN_MS = 1000 };

/* ---- metrics --------------------------------------------------------------------------- */

static metric *metric_for(const connector *c, metric_kind kind, const char *name, const char *help)
{
    return metric_get(metric_family_get(kind, name, help, "tenant,connector"), (slice[]){ c->tenant, c->name });
}

static void metrics_open(connector *c)
{
    connector_metrics *m = &c->count;

    m->received = metric_for(c, METRIC_COUNTER, "interop_frames_received_total", "Frames read from senders.");
    m->stored = metric_for(c, METRIC_COUNTER, "interop_messages_stored_total", "Messages committed.");
    m->repeated = metric_for(c, METRIC_COUNTER, "interop_messages_repeated_total", "Messages sent again with the same content.");
    m->refused = metric_for(c, METRIC_COUNTER, "interop_frames_refused_total", "Frames answered negatively and not kept.");
    m->quarantined = metric_for(c, METRIC_COUNTER, "interop_quarantined_total", "Frames answered negatively and kept.");
    m->processed = metric_for(c, METRIC_COUNTER, "interop_messages_processed_total", "Messages that ended well.");
    m->failed = metric_for(c, METRIC_COUNTER, "interop_message_failures_total", "Transforms that failed and are retried.");
    m->dead_lettered = metric_for(c, METRIC_COUNTER, "interop_messages_dead_lettered_total", "Messages that ended badly.");
    m->ack_seconds = metric_for(c, METRIC_HISTOGRAM, "interop_ack_seconds", "From a complete frame to its answer.");
    m->last_message = metric_for(c, METRIC_GAUGE, "interop_last_message_timestamp_seconds", "When the last frame came.");
    m->in_memory = metric_for(c, METRIC_GAUGE, "interop_messages_in_memory", "Messages on their way, in memory.");
    m->oldest = metric_for(c, METRIC_GAUGE, "interop_lane_age_seconds", "Age of the oldest message on its way.");
    m->connections = metric_for(c, METRIC_GAUGE, "interop_connections", "Open connections of senders.");
    m->owned = metric_for(c, METRIC_GAUGE, "interop_connector_owned", "1 while this node runs the connector.");
    m->behind = metric_for(c, METRIC_GAUGE, "interop_connector_behind", "1 while messages wait in the database only.");
}

/* ---- the listener -------------------------------------------------------------------------- */

static bool wants_listener(const connector *c)
{
    return slice_is(c->status, "active") && !c->closing && c->port > 0;
}

static slice address_of(const connector *c)
{
    return c->host.len > 0 ? c->host : c->settings.address.len > 0 ? c->settings.address : slice_of(c->e->cfg->mllp_address);
}

static err tls_context_for(const connector *c, tls_context **out, err_info *why)
{
    const connector_settings *s = &c->settings;
    tls_config wanted = {
        .certificate = s->tls_certificate, .key = s->tls_key, .ca = s->tls_ca,
        .require_peer = slice_is(c->client_auth, "client-cert"), .peer_names = s->tls_names,
    };

    *out = NULL;
    return c->tls ? tls_server_context(&wanted, out, why) : ERR_OK;
}

static void listener_open(connector *c);

static void on_again(uv_timer_t *t) { listener_open(container_of(t, connector, retry)); }

static void listener_open(connector *c)
{
    const connector_settings *s = &c->settings;
    char address[128];
    tls_context *secure;
    err_info why;
    err e;

    if (c->server != NULL || !wants_listener(c)) return;
    (void)slice_cstr(address_of(c), address, sizeof address);
    e = tls_context_for(c, &secure, &why);
    if (e == ERR_OK) {
        mllp_server_config wanted = {
            .address = address, .port = (uint16_t)c->port, .tls = secure, .frame_cap = (size_t)s->frame_cap,
            .idle_ms = (uint64_t)s->idle_ms, .frame_ms = (uint64_t)s->frame_ms,
            .max_connections = (unsigned)s->max_connections, .max_in_flight = (unsigned)s->max_in_flight,
        };
        e = mllp_server_open(c->e->loop, &wanted, &intake_events, c, &c->server, &why);
        tls_context_drop(secure);
    }
    if (e != ERR_OK) {
        if (!c->told_cannot_listen)
            log_line(LOG_ERROR, "connector.cannot_listen", log_id("connectorId", id_slice(&c->connector_id)),
                     log_id("name", c->name), log_why(&why));
        c->told_cannot_listen = true;
        uv_timer_start(&c->retry, on_again, LISTEN_AGAIN_MS, 0);
        return;
    }
    c->told_cannot_listen = false;
    if (c->e->paused) mllp_server_pause(c->server);
    log_line(LOG_INFO, "connector.listening", log_id("connectorId", id_slice(&c->connector_id)), log_id("name", c->name),
             log_id("address", slice_of(address)), log_int("port", mllp_server_port(c->server)), log_int("tls", c->tls));
}

static void maybe_stopped(connector *c)
{
    if (c->closing && c->timer_closed && !c->stopping && c->loading == 0) c->stopped(c->stopped_arg);
}

static void on_reopened(void *arg)
{
    connector *c = arg;

    c->stopping = false;
    if (c->closing) maybe_stopped(c);
    else listener_open(c);
}

static uint64_t mix_text(uint64_t hash, const char *text)
{
    return hash_mix(hash, text == NULL ? 0 : hash_bytes(slice_of(text)));
}

/* All that listener_open hands over; never 0, which stands for no listener yet. */
static uint64_t listener_hash(const connector *c)
{
    const connector_settings *s = &c->settings;
    const int64_t numbers[] = { wants_listener(c), c->tls, c->port, s->frame_cap, s->idle_ms, s->frame_ms,
                                s->max_connections, s->max_in_flight };
    uint64_t hash = hash_bytes((slice){ (const char *)numbers, sizeof numbers });

    hash = hash_mix(hash, hash_bytes(address_of(c)));
    hash = hash_mix(hash, hash_bytes(c->client_auth));
    hash = mix_text(mix_text(mix_text(hash, s->tls_certificate), s->tls_key), s->tls_ca);
    for (size_t i = 0; s->tls_names != NULL && s->tls_names[i] != NULL; i++) hash = mix_text(hash, s->tls_names[i]);
    return hash | 1;
}

/* A listener that no longer stands where the settings say is closed: what was read is answered first. */
static void listener_follow(connector *c)
{
    uint64_t stands = listener_hash(c);

    if (stands == c->opened) return;
    c->opened = stands;
    if (c->server != NULL && !c->stopping) {
        mllp_server *old = c->server;
        c->server = NULL;
        c->stopping = true;
        mllp_server_close(old, (uint64_t)c->e->cfg->drain_ms, on_reopened, c);
    } else if (!c->stopping) {
        listener_open(c);
    }
}

/* ---- routes and pack ----------------------------------------------------------------------- */

static void on_routes(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    connector *c = arg;

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED || c->closing) return;
    if (e == ERR_STORE_LOST) { connector_load_routes(c); return; }       /* waits for the connection */
    if (e != ERR_OK) {
        log_line(LOG_WARN, "connector.routes_not_read", log_id("connectorId", id_slice(&c->connector_id)), log_why(why));
        c->load_routes_again = true;
        return;
    }
    routes_drop(c->routes);
    c->routes = routes_new(c->tenant, &results[1], &results[2]);
    connector_feed(c);
}

void connector_load_routes(connector *c)
{
    c->load_routes_again = false;
    feed_routes(c->e->feed, c->tenant, on_routes, c);
}

/* A pack is opened and tried on libuv's pool: it may take milliseconds, and the loop has none to spare. */
typedef struct pack_opening {
    uv_work_t   work;
    connector  *c;
    arena       mem;
    slice       archive, digest;
    vm_scope    scope;
    pack_opened opened;
    unsigned    generation;
    program    *made;
    err_info    why;
} pack_opening;

static void open_work(uv_work_t *w)
{
    pack_opening *o = container_of(w, pack_opening, work);
    char hex[SHA256_HEX + 1];

    (void)slice_cstr(o->digest, hex, sizeof hex);
    if (program_new(o->archive, hex, &o->scope, &o->made, &o->why) != ERR_OK) o->made = NULL;
}

static void open_done(uv_work_t *w, int status)
{
    pack_opening *o = container_of(w, pack_opening, work);
    connector *c = o->c;

    (void)status;
    c->loading--;
    if (c->closing) program_drop(o->made);
    else o->opened(c, o->generation, o->digest, o->made, &o->why);
    arena_free(&o->mem);
    free(o);
    maybe_stopped(c);
}

void connector_open_pack(connector *c, slice archive, slice digest, unsigned generation, pack_opened opened)
{
    pack_opening *o = mem_zalloc(sizeof *o);

    o->c = c;
    o->opened = opened;
    o->generation = generation;
    o->archive = arena_dup(&o->mem, archive);
    o->digest = arena_dup(&o->mem, digest);
    o->scope = (vm_scope){
        .tenant = arena_dup(&o->mem, c->tenant), .connector_id = arena_dup(&o->mem, id_slice(&c->connector_id)),
        .connector_name = arena_dup(&o->mem, c->name), .timezone = arena_dup(&o->mem, c->settings.timezone),
        .settings = arena_dup(&o->mem, c->settings.script),
    };
    c->loading++;
    if (uv_queue_work(c->e->loop, &o->work, open_work, open_done) != 0) die("uv_queue_work failed");
}

static void on_pack_open(connector *c, unsigned generation, slice digest, program *made, const err_info *why)
{
    if (generation != c->pack_generation) {
        program_drop(made);              /* a newer one, or one with newer settings, is on its way */
    } else if (made == NULL) {
        log_line(LOG_ERROR, "connector.pack_unusable", log_id("connectorId", id_slice(&c->connector_id)),
                 log_id("digest", digest), log_why(why));
    } else {
        program_drop(c->prog);
        c->prog = made;
        log_line(LOG_INFO, "connector.pack_active", log_id("connectorId", id_slice(&c->connector_id)),
                 log_id("name", c->name), log_id("pack", pack_name(c->prog->pack)), log_id("digest", digest));
        connector_feed(c);
    }
}

static void on_pack(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    connector *c = arg;

    (void)count; (void)sqlstate;
    if (--c->packs_asked > 0) return;    /* of the newest digest, which comes last */
    if (e == ERR_CLOSED || c->closing) return;
    if (e == ERR_STORE_LOST) { connector_load_pack(c); return; }
    if (e != ERR_OK) {
        log_line(LOG_WARN, "connector.pack_not_read", log_id("connectorId", id_slice(&c->connector_id)), log_why(why));
        c->load_pack_again = true;
        return;
    }
    if (pg_rows(&results[1]) == 0) {
        log_line(LOG_ERROR, "connector.pack_missing", log_id("connectorId", id_slice(&c->connector_id)),
                 log_id("digest", c->pack_digest));
        return;
    }
    connector_open_pack(c, pg_cell(&results[1], 0, 0), c->pack_digest, ++c->pack_generation, on_pack_open);
}

void connector_load_pack(connector *c)
{
    c->load_pack_again = false;
    if (c->pack_digest.len == 0) {
        if (!c->told_no_pack)
            log_line(LOG_WARN, "connector.no_pack", log_id("connectorId", id_slice(&c->connector_id)), log_id("name", c->name));
        c->told_no_pack = true;
        return;
    }
    c->packs_asked++;
    feed_pack(c->e->feed, c->tenant, c->pack_digest, on_pack, c);
}

/* ---- making and changing ---------------------------------------------------------------------- */

static bool same_id(const map_node *node, const void *key)
{
    const connector *c = (const connector *)(const void *)((const char *)node - offsetof(connector, node));
    return slice_eq(id_slice(&c->connector_id), *(const slice *)key);
}

connector *connector_find(engine *e, slice connector_id)
{
    map_node *node = map_find(&e->connectors, hash_bytes(connector_id), same_id, &connector_id);
    return node == NULL ? NULL : container_of(node, connector, node);
}

static connector *connector_new(engine *e, const pg_result *rows, int row)
{
    connector *c = mem_zalloc(sizeof *c);
    slice tenant = pg_cell(rows, row, CONN_TENANT), name = pg_cell(rows, row, CONN_NAME);

    c->e = e;
    (void)slice_cstr(pg_cell(rows, row, CONN_ID), c->connector_id.text, sizeof c->connector_id.text);
    c->tenant = (slice){ mem_dup(tenant), tenant.len };
    c->name = (slice){ mem_dup(name), name.len };
    c->behind = true;                    /* until the database was read once */
    c->version = -1;
    list_init(&c->jobs);
    list_init(&c->parked);
    list_init(&c->streams);
    if (uv_timer_init(e->loop, &c->retry) != 0) die("uv_timer_init failed");
    map_add(&e->connectors, &c->node, hash_bytes(id_slice(&c->connector_id)));
    list_push(&e->connector_list, &c->link);
    metrics_open(c);
    return c;
}

static void read_types(connector *c, slice cell)
{
    enum { MOST = 256 };

    c->types = arena_array(&c->mem, slice, MOST);
    c->type_count = feed_array(&c->mem, cell, c->types, MOST);
}

void connector_apply(engine *e, const pg_result *rows, int row)
{
    connector *c = connector_find(e, pg_cell(rows, row, CONN_ID));
    connector_settings settings;
    arena mem = { 0 };
    err_info why;
    bool first = c == NULL, new_scope;
    slice old_digest;

    if (first) c = connector_new(e, rows, row);
    if (c->closing || pg_cell_int(rows, row, CONN_VERSION) == c->version) return;
    if (settings_parse(&mem, arena_dup(&mem, pg_cell(rows, row, CONN_SETTINGS)), &settings, &why) != ERR_OK) {
        log_line(LOG_ERROR, "connector.settings_wrong", log_id("connectorId", id_slice(&c->connector_id)), log_why(&why));
        arena_free(&mem);
        return;
    }
    new_scope = !slice_eq(c->settings.timezone, settings.timezone) || !slice_eq(c->settings.script, settings.script);
    old_digest = arena_dup(&mem, c->pack_digest);
    arena_free(&c->mem);
    c->mem = mem;
    c->settings = settings;
    c->version = pg_cell_int(rows, row, CONN_VERSION);
    c->status = arena_dup(&c->mem, pg_cell(rows, row, CONN_STATUS));
    c->pack_digest = arena_dup(&c->mem, pg_cell(rows, row, CONN_PACK));
    c->host = arena_dup(&c->mem, pg_cell(rows, row, CONN_HOST));
    c->client_auth = arena_dup(&c->mem, pg_cell(rows, row, CONN_AUTH_MODE));
    c->tls = pg_cell_bool(rows, row, CONN_TLS);
    read_types(c, pg_cell(rows, row, CONN_TYPES));
    c->port = slice_is(pg_cell(rows, row, CONN_PROTOCOL), "mllp") && !slice_is(pg_cell(rows, row, CONN_DIRECTION), "outbound")
        ? pg_cell_int(rows, row, CONN_PORT) : 0;
    if (first) connector_load_routes(c);
    if (first || new_scope || !slice_eq(old_digest, c->pack_digest)) connector_load_pack(c);
    listener_follow(c);
    connector_feed(c);
}

void connector_tick(connector *c)
{
    if (c->load_routes_again) connector_load_routes(c);
    if (c->load_pack_again) connector_load_pack(c);
    old_pack_ask(c);
    connector_release_due(c);
    streams_tick(c);
    connector_feed_any(c);
}

static void on_timer_closed(uv_handle_t *h)
{
    connector *c = container_of((uv_timer_t *)h, connector, retry);

    c->timer_closed = true;
    if (c->server != NULL) {
        mllp_server *old = c->server;
        c->server = NULL;
        c->stopping = true;
        mllp_server_close(old, c->drain_ms, on_reopened, c);
    }
    maybe_stopped(c);
}

void connector_stop(connector *c, uint64_t drain_ms, void (*done)(void *arg), void *arg)
{
    c->closing = true;
    c->stopped = done;
    c->stopped_arg = arg;
    c->drain_ms = drain_ms;
    uv_close((uv_handle_t *)&c->retry, on_timer_closed);
}

void connector_free(connector *c)
{
    list_remove(&c->link);
    map_remove(&c->e->connectors, &c->node);
    if (c->epoch != 0) c->e->owned--;
    lanes_fini(&c->lanes);
    aside_clear(&c->aside);
    streams_free(c);
    program_drop(c->prog);
    program_drop(c->old);
    routes_drop(c->routes);
    arena_free(&c->mem);
    free((char *)c->tenant.ptr);
    free((char *)c->name.ptr);
    free(c->writers);
    free(c);
}

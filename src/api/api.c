/* api/api.c -- routes and who may use them. */
#include "api/api.h"

#include <stdlib.h>

#include "api/inside.h"
#include "base/metric.h"
#include "crypt/digest.h"

enum { BEAT_MS = 1000, HEADER_CAP = 32 << 10, BODY_CAP = 16 << 20 };

void api_problem(http_request *r, int status, const char *title, const char *detail)
{
    buf b = buf_in(http_arena(r));

    buf_printf(&b, "{\"type\":\"about:blank\",\"status\":%d,\"title\":", status);
    buf_json(&b, slice_of(title));
    buf_puts(&b, ",\"detail\":");
    buf_json(&b, slice_of(detail));
    buf_puts(&b, "}\n");
    http_reply(r, status, "application/problem+json", buf_slice(&b));
}

static bool is_loopback(slice peer)
{
    return slice_starts(peer, slice_lit("127.")) || slice_is(peer, "::1") ||
           slice_starts(peer, slice_lit("::ffff:127."));
}

bool api_admits(const api *a, http_request *r)
{
    static const slice scheme = slice_lit("Bearer ");
    slice given = http_header(r, "authorization");

    if (a->cfg->admin_token[0] == '\0') {
        if (is_loopback(http_peer(r))) return true;
        api_problem(r, 403, "Forbidden", "without INTEROP_ADMIN_TOKEN /v1 answers this machine only");
        return false;
    }
    if (slice_starts(given, scheme) && secret_eq(slice_from(given, scheme.len), slice_of(a->cfg->admin_token))) return true;
    http_reply_header(r, "WWW-Authenticate", slice_lit("Bearer"));
    api_problem(r, 401, "Unauthorized", "this needs the administration token as bearer");
    return false;
}

static void serve_metrics(api *a, http_request *r)
{
    buf b = buf_in(http_arena(r));

    engine_measure(a->e);
    metric_render(&b);
    http_reply(r, 200, "text/plain; version=0.0.4; charset=utf-8", buf_slice(&b));
}

static void serve_ready(api *a, http_request *r)
{
    buf b = buf_in(http_arena(r));
    err_info why = { 0 };
    bool ready = engine_ready(a->e, &why);

    buf_printf(&b, "{\"ready\":%s,\"failoverSafe\":%s", ready ? "true" : "false",
               engine_failover_safe(a->e) ? "true" : "false");
    if (!ready) {
        buf_puts(&b, ",\"error\":");
        buf_json(&b, slice_of(why.text));
    } else if (!engine_failover_safe(a->e)) {
        buf_puts(&b, ",\"warning\":\"synchronous_standby_names is empty: a failover of PostgreSQL may lose acknowledged messages\"");
    }
    buf_puts(&b, "}\n");
    http_reply(r, ready ? 200 : 503, "application/json", buf_slice(&b));
}

static void serve_live(api *a, http_request *r)
{
    (void)a;
    http_reply(r, 200, "application/json", slice_lit("{\"live\":true}\n"));
}

static const struct route {
    const char *path;
    bool        open;                    /* without api_admits */
    void      (*serve)(api *a, http_request *r);
} routes_served[] = {
    { "/metrics", true, serve_metrics },
    { "/livez", true, serve_live },
    { "/readyz", true, serve_ready },
    { "/v1/events", false, events_serve },
};

static void on_request(void *arg, http_request *r)
{
    api *a = arg;
    slice path = http_path(r);

    for (size_t i = 0; i < countof(routes_served); i++) {
        const struct route *route = &routes_served[i];
        if (!slice_is(path, route->path)) continue;
        if (!slice_is(http_method(r), "GET") && !slice_is(http_method(r), "HEAD")) {
            http_reply_header(r, "Allow", slice_lit("GET, HEAD"));
            api_problem(r, 405, "Method Not Allowed", "this is only read");
        } else if (route->open || api_admits(a, r)) {
            route->serve(a, r);
        }
        return;
    }
    api_problem(r, 404, "Not Found", "there is nothing at this path");
}

static void on_beat(uv_timer_t *t) { events_beat(container_of(t, api, beat)); }

err api_open(uv_loop_t *loop, const config *cfg, engine *e, api **out, err_info *why)
{
    http_server_config http = {
        .address = cfg->http_host, .port = cfg->http_port, .header_cap = HEADER_CAP, .body_cap = BODY_CAP,
        .header_ms = 10000, .body_ms = 30000, .idle_ms = 75000, .max_connections = 2000,
    };
    api *a = mem_zalloc(sizeof *a);
    err result;

    a->loop = loop;
    a->cfg = cfg;
    a->e = e;
    list_init(&a->streams);
    result = http_server_open(loop, &http, on_request, a, &a->server, why);
    if (result != ERR_OK) {
        free(a);
        return result;
    }
    if (uv_timer_init(loop, &a->beat) != 0) die("uv_timer_init failed");
    uv_timer_start(&a->beat, on_beat, BEAT_MS, BEAT_MS);
    engine_on_events(e, events_wake, a);
    *out = a;
    return ERR_OK;
}

uint16_t api_port(const api *a) { return http_server_port(a->server); }

static void on_beat_closed(uv_handle_t *h)
{
    api *a = container_of((uv_timer_t *)h, api, beat);
    void (*closed)(void *) = a->closed;
    void *arg = a->closed_arg;

    free(a);
    closed(arg);
}

static void on_server_closed(void *arg)
{
    api *a = arg;
    uv_close((uv_handle_t *)&a->beat, on_beat_closed);
}

void api_close(api *a, void (*done)(void *arg), void *arg)
{
    a->closed = done;
    a->closed_arg = arg;
    a->closing = true;
    engine_on_events(a->e, NULL, NULL);
    events_end(a);
    http_server_close(a->server, 1000, on_server_closed, a);
}

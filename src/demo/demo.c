/* demo/demo.c -- the HTTP side: from a request to an interaction, from an answer to a reply. */
#include "demo/demo.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/log.h"
#include "demo/bundle.h"
#include "demo/capability.h"
#include "fhir/outcome.h"
#include "net/http_server.h"

#define FHIR_JSON "application/fhir+json; charset=utf-8"

enum { BODY_CAP = 32 << 20, HEADER_CAP = 32 << 10, MAX_CONNECTIONS = 1024, DRAIN_MS = 3000 };

struct demo {
    http_server *http;
    demo_store  *store;
    void       (*closed)(void *arg);
    void        *closed_arg;
};

typedef enum prefer { PREFER_REPRESENTATION, PREFER_MINIMAL, PREFER_OUTCOME } prefer;

/* One request; lives in the request's arena. */
typedef struct exchange {
    http_request    *http;
    demo_scope       scope;
    demo_interaction ix;
    prefer           prefer;
} exchange;

/* ---- replying ------------------------------------------------------------------------- */

static void version_headers(exchange *x, const demo_answer *a)
{
    arena *mem = x->scope.mem;
    time_t seconds = (time_t)(a->updated_us / 1000000);
    char date[40];
    struct tm tm;

    http_reply_header(x->http, "ETag", arena_printf(mem, "W/\"%lld\"", (long long)a->version));
    if (gmtime_r(&seconds, &tm) != NULL && strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", &tm) > 0)
        http_reply_header(x->http, "Last-Modified", arena_dup(mem, slice_of(date)));
    if (a->status == 201 || demo_is_write(x->ix.verb))
        http_reply_header(x->http, "Location",
                          arena_printf(mem, "%.*s/%.*s/%.*s/_history/%lld", (int)x->scope.base.len, x->scope.base.ptr,
                                       (int)a->type.len, a->type.ptr, (int)a->id.len, a->id.ptr,
                                       (long long)a->version));
}

static void on_answer(void *arg, const demo_answer *answer)
{
    exchange *x = arg;
    demo_answer a = *answer;
    bool wrote = (demo_is_write(x->ix.verb) || x->ix.verb == DO_PATCH) && a.status < 300;

    if (a.version > 0) version_headers(x, &a);
    if (a.allow != NULL) http_reply_header(x->http, "Allow", slice_of(a.allow));
    if (wrote && x->prefer == PREFER_OUTCOME && a.status != 204) {
        buf out = buf_in(x->scope.mem);
        json_write(&out, fhir_outcome(x->scope.mem, FHIR_INFORMATION, "informational",
                                      a.status == 201 ? slice_lit("created") : slice_lit("done")));
        a.body = buf_slice(&out);
    }
    if (a.body.ptr == NULL) http_reply(x->http, a.status, NULL, (slice){ "", 0 });
    else http_reply(x->http, a.status, FHIR_JSON, a.body);
}

static void refuse(exchange *x, int status, const char *code, const char *text)
{
    demo_answer answer;

    (void)demo_refuse(x->scope.mem, &answer, status, code, "%s", text);
    on_answer(x, &answer);
}

/* ---- reading the request ------------------------------------------------------------------ */

/* The `value` of "a=1; name=value", a Prefer header in all its forms (RFC 7240). */
static slice preference(slice header, const char *name)
{
    while (header.ptr != NULL) {
        slice value, part = slice_cut(header, ',', &header);
        for (slice rest = part; rest.ptr != NULL;) {
            slice key = slice_trim(slice_cut(slice_trim(slice_cut(rest, ';', &rest)), '=', &value));
            if (slice_is(key, name) && value.ptr != NULL) return slice_trim(value);
        }
    }
    return SLICE_NONE;
}

/* A media type without its parameters, in lower case. */
static slice media_type(arena *mem, slice header)
{
    slice rest, plain = slice_trim(slice_cut(header, ';', &rest));
    char *text = arena_cstr(mem, plain);

    for (char *c = text; *c != '\0'; c++) {
        if (*c >= 'A' && *c <= 'Z') *c = (char)(*c - 'A' + 'a');
    }
    return slice_of(text);
}

static bool is_json(slice media)
{
    return slice_is(media, "application/fhir+json") || slice_is(media, "application/json") ||
           slice_is(media, "text/json") || slice_is(media, "application/json+fhir");
}

static bool contains(slice s, const char *word)
{
    return s.len > 0 && memmem(s.ptr, s.len, word, strlen(word)) != NULL;
}

/* XML and Turtle are not spoken here: 406 when nothing else is wanted. */
static bool wants_json(exchange *x)
{
    slice format = http_param(x->scope.mem, http_query(x->http), "_format");
    slice wanted = format.ptr != NULL ? format : http_header(x->http, "Accept");

    return wanted.len == 0 || contains(wanted, "json") || contains(wanted, "*/*") || contains(wanted, "application/*");
}

/* The parsed body; false: answered. */
static bool read_body(exchange *x)
{
    slice header = http_header(x->http, "Content-Type"), media = media_type(x->scope.mem, header);
    bool patch = x->ix.verb == DO_PATCH;
    err_info why;

    if (patch ? !slice_is(media, "application/json-patch+json") : header.ptr != NULL && !is_json(media)) {
        refuse(x, 415, "not-supported", patch ? "a patch must be application/json-patch+json"
                                              : "the body must be application/fhir+json");
        return false;
    }
    if (http_body(x->http).len == 0) {
        refuse(x, 400, "required", "the body is empty");
        return false;
    }
    if (json_parse(x->scope.mem, http_body(x->http), &x->ix.body, &why) == ERR_OK) return true;
    refuse(x, 400, "structure", why.text);
    return false;
}

/* POST _search: the form's parameters count as if they stood in the URL (R4 http, 3.1.0.9). */
static bool read_form(exchange *x)
{
    slice form = http_body(x->http), media = media_type(x->scope.mem, http_header(x->http, "Content-Type"));

    if (form.len == 0) return true;
    if (!slice_is(media, "application/x-www-form-urlencoded")) {
        refuse(x, 415, "not-supported", "the body of a POST _search must be application/x-www-form-urlencoded");
        return false;
    }
    x->ix.query = x->ix.query.len == 0
        ? form
        : arena_printf(x->scope.mem, "%.*s&%.*s", (int)x->ix.query.len, x->ix.query.ptr, (int)form.len, form.ptr);
    return true;
}

/* True when `path` is /fhir or below; the rest of it goes to `*below`. */
static bool below_base(slice path, slice *below)
{
    static const slice root = { "/fhir", 5 };

    if (!slice_starts(path, root)) return false;
    *below = slice_from(path, root.len);
    return below->len == 0 || below->ptr[0] == '/';
}

static void read_headers(exchange *x)
{
    http_request *r = x->http;
    slice wishes = http_header(r, "Prefer"), wanted = preference(wishes, "return");
    slice host = http_header(r, "Host");

    x->scope.base = arena_printf(x->scope.mem, "http://%.*s/fhir", (int)host.len, host.len > 0 ? host.ptr : "");
    x->scope.strict = slice_is(preference(wishes, "handling"), "strict");
    if (slice_is(wanted, "minimal")) x->prefer = PREFER_MINIMAL;
    if (slice_is(wanted, "OperationOutcome")) x->prefer = PREFER_OUTCOME;
    x->ix.query = http_query(r);
    x->ix.if_match = http_header(r, "If-Match");
    x->ix.if_none_match = http_header(r, "If-None-Match");
    x->ix.if_none_exist = http_header(r, "If-None-Exist");
    /* A Bundle's answer holds resources only when that is asked for. */
    x->scope.want_body = x->prefer == PREFER_REPRESENTATION;
    if (x->ix.verb == DO_BUNDLE) x->scope.want_body = slice_is(wanted, "representation");
}

static void on_request(void *arg, http_request *r)
{
    demo *d = arg;
    exchange *x = arena_new(http_arena(r), exchange);
    demo_answer answer;
    slice below;
    bool writes;

    *x = (exchange){ .http = r, .scope = { .mem = http_arena(r), .store = d->store } };
    if (!below_base(http_path(r), &below)) {
        refuse(x, 404, "not-found", "there is nothing at this URL; the FHIR base of this demo store is /fhir");
        return;
    }
    if (!demo_route(x->scope.mem, http_method(r), below, &x->ix, &answer)) {
        on_answer(x, &answer);
        return;
    }
    read_headers(x);
    if (!wants_json(x)) {
        refuse(x, 406, "not-supported", "this demo store speaks application/fhir+json only");
        return;
    }
    writes = x->ix.verb == DO_CREATE || x->ix.verb == DO_UPDATE || x->ix.verb == DO_PATCH || x->ix.verb == DO_BUNDLE;
    if (writes && !read_body(x)) return;
    if (x->ix.verb == DO_SEARCH && slice_is(http_method(r), "POST") && !read_form(x)) return;
    if (!demo_store_ready(d->store)) {
        http_reply_header(r, "Retry-After", slice_lit("1"));
        refuse(x, 503, "transient", "the database is not there");
        return;
    }
    if (x->ix.verb == DO_METADATA)
        http_reply(r, 200, FHIR_JSON, demo_capability(x->scope.mem, x->scope.base));
    else if (x->ix.verb == DO_BUNDLE)
        demo_bundle_run(&x->scope, x->ix.body, on_answer, x);
    else
        demo_run(&x->scope, &x->ix, on_answer, x);
}

/* ---- life ------------------------------------------------------------------------------------ */

err demo_open(uv_loop_t *loop, const demo_config *config, demo **out, err_info *why)
{
    http_server_config http = {
        .address = config->address, .port = config->port, .header_cap = HEADER_CAP, .body_cap = BODY_CAP,
        .header_ms = 10000, .body_ms = 60000, .idle_ms = 120000, .max_connections = MAX_CONNECTIONS,
    };
    demo *d = mem_zalloc(sizeof *d);
    err e = http_server_open(loop, &http, on_request, d, &d->http, why);

    if (e == ERR_OK) {
        e = demo_store_open(loop, config->url, config->schema, config->connections, &d->store, why);
        if (e != ERR_OK) http_server_close(d->http, 0, free, d);
    } else {
        free(d);
    }
    if (e != ERR_OK) return e;
    log_line(LOG_INFO, "demo.listening", log_word("purpose", "demo FHIR store, for trying out and tests only"),
             log_id("address", slice_of(config->address)), log_int("port", http_server_port(d->http)),
             log_word("base", "/fhir"));
    *out = d;
    return ERR_OK;
}

uint16_t demo_port(const demo *d) { return http_server_port(d->http); }

static void on_store_closed(void *arg)
{
    demo *d = arg;
    void (*closed)(void *) = d->closed;
    void *closed_arg = d->closed_arg;

    free(d);
    closed(closed_arg);
}

static void on_http_closed(void *arg)
{
    demo *d = arg;

    demo_store_close(d->store, on_store_closed, d);
}

void demo_close(demo *d, void (*done)(void *arg), void *arg)
{
    d->closed = done;
    d->closed_arg = arg;
    http_server_close(d->http, DRAIN_MS, on_http_closed, d);
}

/* net/fetch.c -- libcurl's multi_socket interface on a libuv loop.
 *
 * libcurl says which sockets to watch and when to wake it; libuv tells it what
 * happened. Calls end only in finish_calls(), which runs from libuv's callbacks and
 * never from inside libcurl, so that `done` may start, cancel and close.
 *
 *   fetch_start -> `active` --done, or fetch_cancel--> `idle` (kept for the next) -> freed
 *
 * Two things that libcurl does are worth knowing: a request on a kept connection that
 * turns out to be dead before a byte of the answer is sent once more on a new
 * one, which on_send() counts; and a call that waits for one of its host's connections is not under its
 * timeouts, which is why sweep_calls() looks at the deadlines too. */
#include "net/fetch.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include "base/clock.h"
#include "base/failpoint.h"

#define IDLE_KEPT 128                    /* handles */
#define BODY_KEPT ((size_t)16 << 10)     /* bytes of an idle handle's answer buffer */
#define SWEEP_MS 500
#define POOL_LEAST 64
#define AGENT "interop/" INTEROP_VERSION

struct fetch {
    uv_loop_t *loop;
    CURLM     *multi;                    /* NULL once closing */
    uv_timer_t wake;                     /* when libcurl wants to be called */
    uv_timer_t sweep;
    list       active, idle;
    unsigned   idle_count;
    unsigned   owed;                     /* handles not yet closed */
    void     (*closed)(void *arg);
    void      *closed_arg;
};

typedef struct watch {                   /* one socket of libcurl's */
    uv_poll_t     poll;
    curl_socket_t fd;
    fetch        *f;
} watch;

struct fetch_call {
    list               link;
    fetch             *f;
    CURL              *easy;
    struct curl_slist *headers;
    buf                body, scratch;
    size_t             cap;
    uint64_t           connect_ms, total_ms;
    uint64_t           deadline_ns;      /* 0: none */
    uint64_t           send_until_ms;
    unsigned           sends;            /* how often libcurl began to send it */
    bool               too_large, waited;
    const char        *refused;          /* why it was not even tried */
    void             (*done)(void *arg, const fetch_answer *answer);
    void              *arg;
    char               error[CURL_ERROR_SIZE];
};

static void finish_calls(fetch *f);

/* ---- libcurl and libuv ------------------------------------------------------------ */

static void settle(fetch *f)
{
    if (--f->owed > 0) return;
    f->closed(f->closed_arg);
    free(f);
}

static void on_watch_closed(uv_handle_t *h)
{
    watch *w = container_of(h, watch, poll);
    fetch *f = w->f;

    free(w);
    settle(f);
}

static void on_timer_closed(uv_handle_t *h) { settle(h->data); }

static void on_event(uv_poll_t *p, int status, int events)
{
    const watch *w = container_of(p, watch, poll);
    fetch *f = w->f;
    int running, what = status < 0 ? CURL_CSELECT_ERR : 0;

    if ((events & UV_READABLE) != 0) what |= CURL_CSELECT_IN;
    if ((events & UV_WRITABLE) != 0) what |= CURL_CSELECT_OUT;
    (void)curl_multi_socket_action(f->multi, w->fd, what, &running);     /* may close `w` */
    finish_calls(f);
}

static void on_wake(uv_timer_t *t)
{
    fetch *f = t->data;
    int running;

    (void)curl_multi_socket_action(f->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    finish_calls(f);
}

static int set_wake(CURLM *multi, long ms, void *arg)
{
    fetch *f = arg;

    (void)multi;
    if (uv_is_closing((uv_handle_t *)&f->wake)) return 0;
    if (ms < 0) (void)uv_timer_stop(&f->wake);
    else (void)uv_timer_start(&f->wake, on_wake, (uint64_t)ms, 0);
    return 0;
}

static watch *watch_new(fetch *f, curl_socket_t fd)
{
    watch *w = mem_zalloc(sizeof *w);

    w->f = f;
    w->fd = fd;
    if (uv_poll_init_socket(f->loop, &w->poll, fd) != 0) {
        free(w);
        return NULL;
    }
    f->owed++;
    return w;
}

/* libcurl closes the socket as soon as this returns: stopping cannot wait. */
static int set_watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    fetch *f = arg;
    watch *w = socket_arg;
    int events = 0;

    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (w != NULL) uv_close((uv_handle_t *)&w->poll, on_watch_closed);
        return 0;
    }
    if (w == NULL) {
        if (f->multi == NULL || (w = watch_new(f, fd)) == NULL) return -1;
        (void)curl_multi_assign(f->multi, fd, w);
    }
    if ((what & CURL_POLL_IN) != 0) events |= UV_READABLE;
    if ((what & CURL_POLL_OUT) != 0) events |= UV_WRITABLE;
    return uv_poll_start(&w->poll, events, on_event) == 0 ? 0 : -1;
}

/* ---- a call's life ----------------------------------------------------------------- */

static void call_free(fetch_call *c)
{
    curl_easy_cleanup(c->easy);
    curl_slist_free_all(c->headers);
    buf_free(&c->body);
    buf_free(&c->scratch);
    free(c);
}

static fetch_call *call_take(fetch *f)
{
    fetch_call *c;

    if (!list_empty(&f->idle)) {
        c = container_of(list_pop(&f->idle), fetch_call, link);
        f->idle_count--;
        return c;
    }
    c = mem_zalloc(sizeof *c);
    c->f = f;
    c->body = c->scratch = buf_in(NULL);
    c->easy = curl_easy_init();
    if (c->easy == NULL) die("libcurl cannot make a handle");
    return c;
}

/* It is in no list and out of the multi handle. */
static void call_release(fetch_call *c)
{
    fetch *f = c->f;

    if (f->multi == NULL || f->idle_count >= IDLE_KEPT) {
        call_free(c);
        return;
    }
    if (c->body.cap > BODY_KEPT) buf_free(&c->body);
    if (c->scratch.cap > BODY_KEPT) buf_free(&c->scratch);
    buf_clear(&c->body);
    curl_easy_reset(c->easy);            /* forgets the options, keeps the memory */
    curl_slist_free_all(c->headers);
    c->headers = NULL;
    list_push_front(&f->idle, &c->link); /* the warmest first */
    f->idle_count++;
}

static void call_detach(fetch_call *c)
{
    list_remove(&c->link);
    if (list_empty(&c->f->active)) (void)uv_timer_stop(&c->f->sweep);
    (void)curl_multi_remove_handle(c->f->multi, c->easy);
}

/* ---- the request --------------------------------------------------------------------- */

#define set(c, option, value) \
    do { \
        if (curl_easy_setopt((c)->easy, (option), (value)) != CURLE_OK) die("libcurl refuses " #option); \
    } while (0)

static size_t on_body(char *bytes, size_t one, size_t n, void *arg)
{
    fetch_call *c = arg;

    (void)one;
    if (n > c->cap - c->body.len) {
        c->too_large = true;
        return 0;                        /* ends the call */
    }
    buf_put(&c->body, (slice){ bytes, n });
    return n;
}

/* There is a connection; what follows may reach the peer. */
static int on_send(void *arg, char *peer_address, char *own_address, int peer_port, int own_port)
{
    fetch_call *c = arg;

    (void)peer_address, (void)own_address, (void)peer_port, (void)own_port;
    failpoint("fetch.connected");
    if (c->send_until_ms != 0 && clock_boot_ms() >= c->send_until_ms) return CURL_PREREQFUNC_ABORT;
    c->sends++;
    return CURL_PREREQFUNC_OK;
}

/* NUL-terminated, valid until the next call of this. */
static const char *scratch_text(fetch_call *c, slice s)
{
    buf_clear(&c->scratch);
    buf_put(&c->scratch, s);
    buf_putc(&c->scratch, '\0');
    return c->scratch.ptr;
}

/* A line end in a value would smuggle a header, or a request, to the peer. */
static bool has_line_end(slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\r' || s.ptr[i] == '\n' || s.ptr[i] == '\0') return true;
    return false;
}

static void add_header(fetch_call *c, const char *line)
{
    struct curl_slist *longer = curl_slist_append(c->headers, line);

    if (longer == NULL) die("out of memory");
    c->headers = longer;
}

static void set_headers(fetch_call *c, const fetch_request *r)
{
    static const char type[] = "content-type:";
    bool typed = false;

    for (size_t i = 0; i < r->header_count; i++) {
        slice line = r->headers[i];
        if (has_line_end(line)) {
            c->refused = "a header holds a line end";
            continue;
        }
        typed |= line.len >= sizeof type - 1 && strncasecmp(line.ptr, type, sizeof type - 1) == 0;
        add_header(c, scratch_text(c, line));
    }
    if (!typed) add_header(c, "Content-Type:");      /* else libcurl would call it a form */
    add_header(c, "Expect:");                        /* no pause for 100 Continue */
    set(c, CURLOPT_HTTPHEADER, c->headers);
}

static void set_method(fetch_call *c, const fetch_request *r)
{
    bool carries = r->body.len > 0 || strcmp(r->method, "POST") == 0 || strcmp(r->method, "PUT") == 0
        || strcmp(r->method, "PATCH") == 0;

    if (strcmp(r->method, "HEAD") == 0) {
        set(c, CURLOPT_NOBODY, 1L);
        return;
    }
    if (carries) {
        set(c, CURLOPT_POST, 1L);
        set(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
        set(c, CURLOPT_POSTFIELDS, r->body.len == 0 ? "" : r->body.ptr);      /* not copied */
    }
    set(c, CURLOPT_CUSTOMREQUEST, r->method);
}

static void set_rules(fetch_call *c, const fetch_request *r)
{
    set(c, CURLOPT_PROTOCOLS_STR, "http,https");
    set(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    set(c, CURLOPT_FOLLOWLOCATION, 0L);
    set(c, CURLOPT_PROXY, "");           /* nor from the environment */
    set(c, CURLOPT_SSL_VERIFYPEER, 1L);
    set(c, CURLOPT_SSL_VERIFYHOST, 2L);
    set(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (r->ca != NULL) {
        set(c, CURLOPT_CAINFO, r->ca);
        set(c, CURLOPT_CAPATH, NULL);    /* that one alone, not the system's beside it */
    }
    set(c, CURLOPT_NOSIGNAL, 1L);
    set(c, CURLOPT_QUICK_EXIT, 1L);      /* giving up must not wait for a slow DNS */
    set(c, CURLOPT_TCP_NODELAY, 1L);
    set(c, CURLOPT_USERAGENT, AGENT);
    set(c, CURLOPT_CONNECTTIMEOUT_MS, (long)r->connect_ms);
    set(c, CURLOPT_TIMEOUT_MS, (long)r->total_ms);
}

fetch_call *fetch_start(fetch *f, const fetch_request *request,
                        void (*done)(void *arg, const fetch_answer *answer), void *arg)
{
    fetch_call *c = call_take(f);

    c->done = done;
    c->arg = arg;
    c->cap = request->answer_cap;
    c->connect_ms = request->connect_ms;
    c->total_ms = request->total_ms;
    c->deadline_ns = c->total_ms == 0 ? 0 : clock_ns() + c->total_ms * 1000000u;
    c->sends = 0;
    c->send_until_ms = request->send_until_ms;
    c->too_large = c->waited = false;
    c->refused = has_line_end(request->url) ? "the URL holds a line end" : NULL;
    c->error[0] = '\0';
    set(c, CURLOPT_PRIVATE, c);
    set(c, CURLOPT_ERRORBUFFER, c->error);
    set(c, CURLOPT_WRITEFUNCTION, on_body);
    set(c, CURLOPT_WRITEDATA, c);
    set(c, CURLOPT_PREREQFUNCTION, on_send);
    set(c, CURLOPT_PREREQDATA, c);
    set_rules(c, request);
    set_method(c, request);
    set_headers(c, request);
    /* What is refused takes the common way too, so that `done` is called later; the
     * scheme sees to it that nothing leaves. */
    set(c, CURLOPT_URL, c->refused != NULL ? "refused:" : scratch_text(c, request->url));
    if (list_empty(&f->active)) (void)uv_timer_again(&f->sweep);
    list_push(&f->active, &c->link);
    CURLMcode added = curl_multi_add_handle(f->multi, c->easy);
    if (added != CURLM_OK) die("libcurl: %s", curl_multi_strerror(added));
    return c;
}

void fetch_cancel(fetch_call *call)
{
    call_detach(call);
    call_release(call);
}

/* ---- the answer ----------------------------------------------------------------------- */

/* "host:port" of the URL: the rest of it may hold what concerns a patient. */
static const char *peer_of(CURL *easy, char *out, size_t cap)
{
    CURLU *url = curl_url();
    char *whole = NULL, *host = NULL, *port = NULL;
    buf b = buf_in(NULL);

    (void)curl_easy_getinfo(easy, CURLINFO_EFFECTIVE_URL, &whole);
    if (url != NULL && whole != NULL && curl_url_set(url, CURLUPART_URL, whole, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_HOST, &host, 0) == CURLUE_OK
        && curl_url_get(url, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) == CURLUE_OK) {
        buf_puts(&b, host);
        buf_putc(&b, ':');
        buf_puts(&b, port);
    } else {
        buf_puts(&b, "the peer");
    }
    (void)slice_cstr(buf_slice(&b), out, cap);
    buf_free(&b);
    curl_free(host);
    curl_free(port);
    curl_url_cleanup(url);
    return out;
}

static err explain_timeout(const fetch_call *c, const char *peer, err_info *why)
{
    curl_off_t ready_us = 0;

    if (c->waited)
        return err_set(why, ERR_TIMEOUT, "%s: all connections that we may have to it were busy for %llu ms", peer,
                       (unsigned long long)c->total_ms);
    (void)curl_easy_getinfo(c->easy, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
    if (ready_us > 0)
        return err_set(why, ERR_TIMEOUT, "%s gave no whole answer within %llu ms", peer,
                       (unsigned long long)c->total_ms);
    return err_set(why, ERR_TIMEOUT, "%s could not be connected to within %llu ms", peer,
                   (unsigned long long)(c->connect_ms > 0 ? c->connect_ms : c->total_ms));
}

static err explain(const fetch_call *c, CURLcode result, err_info *why)
{
    char peer[160];
    long os = 0;

    if (c->refused != NULL) return err_set(why, ERR_CONFIG, "not sent: %s", c->refused);
    (void)peer_of(c->easy, peer, sizeof peer);
    if (c->too_large) return err_set(why, ERR_LIMIT, "%s sent an answer of more than %zu bytes", peer, c->cap);
    switch (result) {
    case CURLE_ABORTED_BY_CALLBACK:
        return c->sends > 0 ? err_set(why, ERR_NET, "%s closed the connection before its answer was whole", peer)
            : err_set(why, ERR_EXPIRED, "not sent: it was too late");
    case CURLE_UNSUPPORTED_PROTOCOL: case CURLE_URL_MALFORMAT:
        return err_set(why, ERR_CONFIG, "not sent: the URL is not a valid http or https URL");
    case CURLE_COULDNT_RESOLVE_HOST:
        return err_set(why, ERR_NET, "%s: DNS has no address for this name", peer);
    case CURLE_OPERATION_TIMEDOUT:
        return explain_timeout(c, peer, why);
    case CURLE_COULDNT_CONNECT:
        (void)curl_easy_getinfo(c->easy, CURLINFO_OS_ERRNO, &os);
        return err_set(why, ERR_NET, "%s cannot be connected to: %s", peer,
                       os != 0 ? strerror((int)os) : curl_easy_strerror(result));
    case CURLE_GOT_NOTHING: case CURLE_RECV_ERROR: case CURLE_SEND_ERROR: case CURLE_PARTIAL_FILE:
        return err_set(why, ERR_NET, "%s closed the connection before its answer was whole", peer);
    case CURLE_SSL_CACERT_BADFILE:
        return err_set(why, ERR_TLS, "the CA file for %s cannot be read", peer);
    case CURLE_PEER_FAILED_VERIFICATION: case CURLE_SSL_CONNECT_ERROR: case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER: case CURLE_SSL_ISSUER_ERROR: case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT: case CURLE_SSL_ENGINE_INITFAILED:
        return err_set(why, ERR_TLS, "%s: %s", peer, c->error[0] != '\0' ? c->error : curl_easy_strerror(result));
    default:
        return err_set(why, ERR_NET, "%s: %s", peer, curl_easy_strerror(result));
    }
}

static slice header_of(CURL *easy, const char *name)
{
    struct curl_header *h;

    return curl_easy_header(easy, name, 0, CURLH_HEADER, -1, &h) == CURLHE_OK ? slice_of(h->value) : SLICE_NONE;
}

/* Everything is read before the handle leaves libcurl, and told after. */
static void call_finish(fetch_call *c, CURLcode result)
{
    fetch_answer a = { .error = ERR_OK };
    long status = 0;

    a.sent = c->sends > 0;
    a.sent_again = c->sends > 1;
    if (result != CURLE_OK) {
        a.error = explain(c, result, &a.why);
    } else {
        (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
        a.status = (int)status;
        a.body = buf_slice(&c->body);
        a.location = header_of(c->easy, "Location");
        a.etag = header_of(c->easy, "ETag");
        a.retry_after = header_of(c->easy, "Retry-After");
        a.content_type = header_of(c->easy, "Content-Type");
    }
    call_detach(c);
    c->done(c->arg, &a);
    call_release(c);
}

/* `done` may close: then f->multi is NULL, while `f` lives until its handles are closed. */
static void finish_calls(fetch *f)
{
    while (f->multi != NULL) {
        int left;
        const CURLMsg *m = curl_multi_info_read(f->multi, &left);
        if (m == NULL) return;
        if (m->msg != CURLMSG_DONE) continue;
        CURLcode result = m->data.result;
        fetch_call *c = NULL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &c);
        call_finish(c, result);
    }
}

static fetch_call *find_late(const fetch *f, uint64_t now)
{
    list_each(it, &f->active) {
        fetch_call *c = container_of(it, fetch_call, link);
        /* The analyser does not follow list_remove: it takes the last one, freed, to be still here. */
        if (c->deadline_ns != 0 && c->deadline_ns <= now) return c;       /* NOLINT(clang-analyzer-unix.Malloc) */
    }
    return NULL;
}

/* Ends the calls that never got a connection; the others libcurl ends in time. It
 * looks from the beginning each time, since a `done` may change the list. */
static void sweep_calls(uv_timer_t *t)
{
    fetch *f = t->data;
    uint64_t now = clock_ns();

    while (f->multi != NULL) {
        fetch_call *c = find_late(f, now);
        if (c == NULL) return;
        c->waited = true;
        call_finish(c, CURLE_OPERATION_TIMEDOUT);
    }
}

/* ---- all of it --------------------------------------------------------------------------- */

static void curl_begin(void)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) die("libcurl cannot begin");
}

fetch *fetch_open(uv_loop_t *loop, unsigned connections_per_host)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    fetch *f = mem_zalloc(sizeof *f);
    long pool = (long)connections_per_host * 8;

    (void)pthread_once(&once, curl_begin);
    f->loop = loop;
    list_init(&f->active);
    list_init(&f->idle);
    (void)uv_timer_init(loop, &f->wake);
    (void)uv_timer_init(loop, &f->sweep);
    f->wake.data = f->sweep.data = f;
    f->owed = 2;
    (void)uv_timer_start(&f->sweep, sweep_calls, SWEEP_MS, SWEEP_MS);
    (void)uv_timer_stop(&f->sweep);      /* until the first call: uv_timer_again */
    f->multi = curl_multi_init();
    if (f->multi == NULL) die("libcurl cannot make a multi handle");
    (void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETFUNCTION, set_watch);
    (void)curl_multi_setopt(f->multi, CURLMOPT_SOCKETDATA, f);
    (void)curl_multi_setopt(f->multi, CURLMOPT_TIMERFUNCTION, set_wake);
    (void)curl_multi_setopt(f->multi, CURLMOPT_TIMERDATA, f);
    (void)curl_multi_setopt(f->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)connections_per_host);
    (void)curl_multi_setopt(f->multi, CURLMOPT_MAXCONNECTS, pool < POOL_LEAST ? (long)POOL_LEAST : pool);
    return f;
}

void fetch_close(fetch *f, void (*done)(void *arg), void *arg)
{
    CURLM *multi = f->multi;

    f->closed = done;
    f->closed_arg = arg;
    list_each_safe(it, &f->active) fetch_cancel(container_of(it, fetch_call, link));
    list_each_safe(it, &f->idle) call_free(container_of(it, fetch_call, link));
    list_init(&f->idle);
    f->multi = NULL;
    uv_close((uv_handle_t *)&f->wake, on_timer_closed);
    uv_close((uv_handle_t *)&f->sweep, on_timer_closed);
    (void)curl_multi_cleanup(multi);     /* closes the pool, and its watches by set_watch */
}

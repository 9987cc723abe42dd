/* store/conninfo.c -- host names to addresses, one after the other, then libpq. */
#include "store/conninfo.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

struct conninfo {
    char              *url;
    char              *application;
    PQconninfoOption  *options;          /* NULL when the string is wrong */
    err_info           wrong;
    buf                addresses;        /* for `hostaddr`, a comma list in the order of `host` */
    slice              left;             /* of `host`, to be looked up */
    bool               named;            /* at least one host is a name */
    uv_getaddrinfo_t  *lookup;           /* on the heap: it may outlive us */
    uv_timer_t        *soon;
    void             (*done)(void *arg, err e, const err_info *why);
    void              *arg;
};

static const char *option(const conninfo *i, const char *keyword)
{
    for (PQconninfoOption *o = i->options; o != NULL && o->keyword != NULL; o++)
        if (strcmp(o->keyword, keyword) == 0 && o->val != NULL && o->val[0] != '\0') return o->val;
    return NULL;
}

conninfo *conninfo_new(const char *url, const char *application)
{
    conninfo *i = mem_zalloc(sizeof *i);

    i->url = mem_dup(slice_of(url));
    i->application = mem_dup(slice_of(application));
    i->options = PQconninfoParse(url, NULL);
    if (i->options == NULL)
        (void)err_set(&i->wrong, ERR_CONFIG, "the database's connection string cannot be read: "
                      "write INTEROP_DATABASE_URL as postgresql://USER@HOST:PORT/DATABASE");
    return i;
}

static void on_soon_closed(uv_handle_t *h) { free(h); }

void conninfo_free(conninfo *i)
{
    if (i == NULL) return;
    if (i->lookup != NULL) i->lookup->data = NULL;
    if (i->soon != NULL) uv_close((uv_handle_t *)i->soon, on_soon_closed);
    PQconninfoFree(i->options);
    buf_free(&i->addresses);
    free(i->url);
    free(i->application);
    free(i);
}

static bool is_address(slice host)
{
    char text[128];
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;

    if (host.len == 0 || host.ptr[0] == '/' || host.ptr[0] == '@') return true;      /* a socket folder */
    (void)slice_cstr(host, text, sizeof text);
    return uv_ip4_addr(text, 0, &v4) == 0 || uv_ip6_addr(text, 0, &v6) == 0;
}

static void resolve_next(conninfo *i, uv_loop_t *loop);

static void on_soon(uv_timer_t *t)
{
    conninfo *i = t->data;

    i->soon = NULL;
    uv_close((uv_handle_t *)t, on_soon_closed);
    i->done(i->arg, i->options == NULL ? ERR_CONFIG : ERR_OK, &i->wrong);
}

static void finish_soon(conninfo *i, uv_loop_t *loop)
{
    i->soon = mem_zalloc(sizeof *i->soon);
    if (uv_timer_init(loop, i->soon) != 0) die("uv_timer_init failed");
    i->soon->data = i;
    uv_timer_start(i->soon, on_soon, 0, 0);
}

static void on_address(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    conninfo *i = req->data;
    uv_loop_t *loop = req->loop;
    char text[INET6_ADDRSTRLEN] = "";
    err_info why;

    free(req);
    if (i != NULL) {
        i->lookup = NULL;
        if (status == 0 && found->ai_family == AF_INET6)
            (void)uv_ip6_name((const struct sockaddr_in6 *)(const void *)found->ai_addr, text, sizeof text);
        else if (status == 0)
            (void)uv_ip4_name((const struct sockaddr_in *)(const void *)found->ai_addr, text, sizeof text);
    }
    uv_freeaddrinfo(found);
    if (i == NULL) return;
    if (text[0] == '\0') {
        (void)err_set(&why, ERR_NET, "the database's host name cannot be resolved: %s", uv_strerror(status));
        i->done(i->arg, ERR_NET, &why);
        return;
    }
    buf_puts(&i->addresses, text);
    resolve_next(i, loop);
}

static void resolve_next(conninfo *i, uv_loop_t *loop)
{
    static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    char name[256];

    while (i->left.ptr != NULL) {
        slice host = slice_cut(i->left, ',', &i->left);
        if (i->addresses.len > 0 || i->named) buf_putc(&i->addresses, ',');
        if (is_address(host)) {
            if (host.len > 0 && host.ptr[0] != '/' && host.ptr[0] != '@') buf_put(&i->addresses, host);
            i->named = true;             /* from here on every host has its comma */
            continue;
        }
        i->named = true;
        i->lookup = mem_zalloc(sizeof *i->lookup);
        i->lookup->data = i;
        (void)slice_cstr(host, name, sizeof name);
        if (uv_getaddrinfo(loop, i->lookup, on_address, name, NULL, &hints) == 0) return;
        free(i->lookup);
        i->lookup = NULL;
    }
    i->done(i->arg, ERR_OK, NULL);
}

void conninfo_resolve(conninfo *i, uv_loop_t *loop,
                      void (*done)(void *arg, err e, const err_info *why), void *arg)
{
    const char *host = option(i, "host");
    bool names = false;
    slice rest = slice_of(host);

    i->done = done;
    i->arg = arg;
    buf_clear(&i->addresses);
    i->named = false;
    while (rest.ptr != NULL) names |= !is_address(slice_cut(rest, ',', &rest));
    if (i->options == NULL || !names || option(i, "hostaddr") != NULL) {
        finish_soon(i, loop);
        return;
    }
    i->left = slice_of(host);
    resolve_next(i, loop);
}

PGconn *conninfo_start(const conninfo *i)
{
    const char *keys[8], *values[8];
    char *addresses = i->addresses.len == 0 ? NULL : mem_dup(buf_slice(&i->addresses));
    PGconn *conn;
    int n = 0;

    keys[n] = "dbname"; values[n++] = i->url;                    /* expanded by libpq */
    keys[n] = "application_name"; values[n++] = i->application;
    keys[n] = "client_encoding"; values[n++] = "UTF8";
    keys[n] = "keepalives_idle"; values[n++] = "10";
    keys[n] = "tcp_user_timeout"; values[n++] = "10000";         /* ms: a stalled peer is a lost one */
    keys[n] = "options"; values[n++] = "-c synchronous_commit=on -c statement_timeout=60s "
                                       "-c idle_in_transaction_session_timeout=60s";
    if (addresses != NULL) { keys[n] = "hostaddr"; values[n++] = addresses; }
    keys[n] = NULL; values[n] = NULL;
    conn = PQconnectStartParams(keys, values, 1);
    free(addresses);
    return conn;
}

/* libpq connects in text only: what went wrong has no code before there is a session. */
const char *conninfo_advice(const char *text)
{
    if (strstr(text, "role \"") != NULL && strstr(text, "does not exist") != NULL)
        return "run `interop migrate`, which creates it";
    if (strstr(text, "database \"") != NULL && strstr(text, "does not exist") != NULL)
        return "create it with createdb, then run `interop migrate`";
    if (strstr(text, "password authentication failed") != NULL || strstr(text, "no password supplied") != NULL ||
        strstr(text, "authentication failed") != NULL)
        return "check user and password of the connection string";
    if (strstr(text, "pg_hba.conf") != NULL) return "let this user connect in pg_hba.conf";
    return "check that PostgreSQL runs there and the connection string is right";
}

const char *conninfo_error(const PGconn *conn)
{
    static _Thread_local char line[200];
    const char *text = PQerrorMessage(conn);
    size_t n = strcspn(text, "\n");

    if (n >= sizeof line) n = sizeof line - 1;
    memcpy(line, text, n);
    line[n] = '\0';
    return n == 0 ? "connection lost" : line;
}

char *conninfo_text(const char *url, char *out, size_t cap)
{
    conninfo *i = conninfo_new(url, "");
    const char *user = option(i, "user"), *host = option(i, "host"), *port = option(i, "port"),
               *name = option(i, "dbname");

    (void)snprintf(out, cap, "%s@%s:%s/%s", user == NULL ? "?" : user, host == NULL ? "localhost" : host,
                   port == NULL ? "5432" : port, name == NULL ? "?" : name);
    conninfo_free(i);
    return out;
}

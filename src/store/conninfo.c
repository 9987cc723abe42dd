/* store/conninfo.c -- host names to addresses, one after the other, then libpq.
 *
 * What libpq gets is a list of places, one for each address of each host. It tries them in their
 * order, with no time limit for one that is silent: whoever gives an attempt up lets the next one
 * begin a place further, so that a dead machine does not keep us from the one behind it. A name that
 * is not known any more, as that of a machine which is gone, is left out while others are known. */
#include "store/conninfo.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"

enum { MAX_PLACES = 32 };

typedef struct place {
    slice host, port;                    /* borrowed from the options; port NULL: none is given */
    char  address[INET6_ADDRSTRLEN];     /* "": the host is an address, or a socket's folder */
} place;

struct conninfo {
    char              *url;
    char              *application;
    PQconninfoOption  *options;          /* NULL when the string is wrong */
    err_info           wrong;
    place              places[MAX_PLACES];
    size_t             count;
    slice              hosts, ports, port;       /* still to be looked up; the port of the one under way */
    slice              host;
    err_info           unknown;          /* of the last name that is not known */
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

/* Hosts and ports as far as they are lists of the same length; false: libpq may say what is wrong with them. */
static bool split(conninfo *i)
{
    const char *host = option(i, "host"), *port = option(i, "port");
    size_t hosts = 1, ports = 1;

    i->count = 0;
    if (i->options == NULL || host == NULL || option(i, "hostaddr") != NULL) return false;
    for (const char *c = host; *c != '\0'; c++) hosts += *c == ',';
    for (const char *c = port == NULL ? "" : port; *c != '\0'; c++) ports += *c == ',';
    i->hosts = slice_of(host);
    i->ports = port == NULL ? SLICE_NONE : slice_of(port);
    return ports == 1 || ports == hosts;
}

static void put_place(conninfo *i, const char *address)
{
    if (i->count == MAX_PLACES) return;
    place *p = &i->places[i->count++];
    *p = (place){ .host = i->host, .port = i->port };
    (void)snprintf(p->address, sizeof p->address, "%s", address);
}

static void on_soon(uv_timer_t *t)
{
    conninfo *i = t->data;

    i->soon = NULL;
    uv_close((uv_handle_t *)t, on_soon_closed);
    if (i->options == NULL) i->done(i->arg, ERR_CONFIG, &i->wrong);
    else if (i->hosts.ptr != NULL) resolve_next(i, t->loop);
    else i->done(i->arg, ERR_OK, NULL);
}

static void on_address(uv_getaddrinfo_t *req, int status, struct addrinfo *found)
{
    conninfo *i = req->data;
    uv_loop_t *loop = req->loop;

    free(req);
    if (i != NULL) {
        i->lookup = NULL;
        if (status != 0)
            (void)err_set(&i->unknown, ERR_NET, "the database's host name cannot be resolved: %s", uv_strerror(status));
        for (const struct addrinfo *a = found; a != NULL; a = a->ai_next) {
            char text[INET6_ADDRSTRLEN] = "";
            if (a->ai_family == AF_INET6)
                (void)uv_ip6_name((const struct sockaddr_in6 *)(const void *)a->ai_addr, text, sizeof text);
            else if (a->ai_family == AF_INET)
                (void)uv_ip4_name((const struct sockaddr_in *)(const void *)a->ai_addr, text, sizeof text);
            if (text[0] != '\0') put_place(i, text);
        }
    }
    uv_freeaddrinfo(found);
    if (i != NULL) resolve_next(i, loop);
}

static void resolve_next(conninfo *i, uv_loop_t *loop)
{
    static const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
    char name[256];

    while (i->hosts.ptr != NULL) {
        i->host = slice_cut(i->hosts, ',', &i->hosts);
        if (i->ports.ptr != NULL) i->port = slice_cut(i->ports, ',', &i->ports);     /* one alone is for all */
        if (is_address(i->host)) { put_place(i, ""); continue; }
        i->lookup = mem_zalloc(sizeof *i->lookup);
        i->lookup->data = i;
        (void)slice_cstr(i->host, name, sizeof name);
        if (uv_getaddrinfo(loop, i->lookup, on_address, name, NULL, &hints) == 0) return;
        free(i->lookup);
        i->lookup = NULL;
    }
    i->done(i->arg, i->count > 0 ? ERR_OK : ERR_NET, &i->unknown);
}

void conninfo_resolve(conninfo *i, uv_loop_t *loop,
                      void (*done)(void *arg, err e, const err_info *why), void *arg)
{
    i->done = done;
    i->arg = arg;
    i->port = SLICE_NONE;
    if (!split(i)) i->hosts = SLICE_NONE;
    i->soon = mem_zalloc(sizeof *i->soon);
    if (uv_timer_init(loop, i->soon) != 0) die("uv_timer_init failed");
    i->soon->data = i;
    uv_timer_start(i->soon, on_soon, 0, 0);
}

static const char *or_empty(const char *text) { return text == NULL ? "" : text; }

void conninfo_at(const PGconn *conn, char at[CONNINFO_AT])
{
    (void)snprintf(at, CONNINFO_AT, "%s %s %s", or_empty(PQhost(conn)), or_empty(PQhostaddr(conn)), or_empty(PQport(conn)));
}

size_t conninfo_number(const conninfo *i, const char *at)
{
    slice rest, host = slice_cut(slice_of(at), ' ', &rest), address = slice_cut(rest, ' ', &rest);

    for (size_t k = 0; k < i->count; k++) {
        const place *p = &i->places[k];
        if (slice_eq(p->host, host) && (p->port.len == 0 || slice_eq(p->port, rest)) &&
            (p->address[0] == '\0' || slice_is(address, p->address))) return k;
    }
    return 0;
}

bool conninfo_several(const conninfo *i)
{
    const char *host = option(i, "host"), *address = option(i, "hostaddr");
    return i->count > 1 || (host != NULL && strchr(host, ',') != NULL) || (address != NULL && strchr(address, ',') != NULL);
}

PGconn *conninfo_start(const conninfo *i, size_t first, uint64_t statement_ms)
{
    const char *keys[12], *values[12], *given = option(i, "options");
    buf hosts = { 0 }, ports = { 0 }, addresses = { 0 }, options = { 0 };
    bool addressed = false;
    PGconn *conn;
    int n = 0;

    for (size_t k = 0; k < i->count; k++) {
        const place *p = &i->places[(first + k) % i->count];
        if (k > 0) { buf_putc(&hosts, ','); buf_putc(&ports, ','); buf_putc(&addresses, ','); }
        buf_put(&hosts, p->host);
        buf_put(&ports, p->port);
        buf_puts(&addresses, p->address);
        addressed |= p->address[0] != '\0';
    }
    if (given != NULL) buf_printf(&options, "%s ", given);
    /* The statements are made for READ COMMITTED, whatever the role or the database is set to. */
    buf_printf(&options, "-c synchronous_commit=on -c default_transaction_isolation=read\\ committed"
               " -c statement_timeout=%llu -c idle_in_transaction_session_timeout=60s", (unsigned long long)statement_ms);
    buf_putc(&hosts, '\0');
    buf_putc(&ports, '\0');
    buf_putc(&addresses, '\0');
    buf_putc(&options, '\0');
    keys[n] = "dbname"; values[n++] = i->url;                    /* expanded by libpq */
    keys[n] = "application_name"; values[n++] = i->application;
    keys[n] = "client_encoding"; values[n++] = "UTF8";
    keys[n] = "keepalives_idle"; values[n++] = "5";
    keys[n] = "keepalives_interval"; values[n++] = "5";
    keys[n] = "tcp_user_timeout"; values[n++] = "10000";         /* ms: a stalled peer is a lost one */
    keys[n] = "options"; values[n++] = options.ptr;
    if (i->count > 0) { keys[n] = "host"; values[n++] = hosts.ptr; }
    if (i->count > 0 && i->places[0].port.ptr != NULL) { keys[n] = "port"; values[n++] = ports.ptr; }
    if (addressed) { keys[n] = "hostaddr"; values[n++] = addresses.ptr; }
    keys[n] = NULL; values[n] = NULL;
    conn = PQconnectStartParams(keys, values, 1);
    buf_free(&hosts);
    buf_free(&ports);
    buf_free(&addresses);
    buf_free(&options);
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
    if (strstr(text, "not permitted to log in") != NULL) return "let the role log in: ALTER ROLE … LOGIN";
    if (strstr(text, "permission denied for database") != NULL) return "GRANT CONNECT ON DATABASE … to the role";
    if (strstr(text, "too many clients") != NULL || strstr(text, "connection slots") != NULL ||
        strstr(text, "too many connections") != NULL)
        return "raise max_connections of PostgreSQL or of the role, or lower ingest_connections and result_connections";
    if (strstr(text, "session is read-only") != NULL || strstr(text, "is in hot standby mode") != NULL)
        return "no host takes writes: is a standby to be promoted?";
    if (strstr(text, "is starting up") != NULL || strstr(text, "is shutting down") != NULL ||
        strstr(text, "recovery mode") != NULL || strstr(text, "not yet accepting") != NULL)
        return "PostgreSQL is starting, stopping or recovering";
    return "check that PostgreSQL runs there and the connection string is right";
}

const char *conninfo_error(const PGconn *conn)
{
    static _Thread_local char line[200];
    slice rest = slice_of(PQerrorMessage(conn));
    size_t n = 0;

    while (rest.ptr != NULL) {           /* one for each host; hints begin with a tab */
        slice text = slice_cut(rest, '\n', &rest);
        if (text.len == 0 || text.ptr[0] == '\t') continue;
        n += (size_t)snprintf(line + n, sizeof line - n, "%s%.*s", n == 0 ? "" : "; ", (int)text.len, text.ptr);
        if (n >= sizeof line) break;
    }
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

/* tests/bench/sink.c -- a FHIR service that answers at once and keeps nothing: what
 * is measured with it is the sender.
 *
 *   bench_sink [PORT]   prints "listening PORT", serves on the loopback until it is ended
 *
 * A POST of a Bundle to /fhir is answered with a transaction-response of one entry
 * for each of its entries: 201 Created, a location (the type that the request's
 * url begins with, and an id), an ETag. A PUT or POST of one resource is answered
 * likewise, GET /fhir/metadata with a small CapabilityStatement, GET /count with the
 * number of bundles so far. One epoll loop; requests have a Content-Length. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/json.h"

enum { EVENTS = 64, REQUEST_MAX = 16 << 20 };

typedef struct connection {
    int fd;
    buf in;
} connection;

static uint64_t bundles, created;

static void fail(const char *what)
{
    fprintf(stderr, "sink: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);
        if (n < 0 && errno == EAGAIN) continue;
        if (n <= 0) return;                              /* the peer is gone; reading will tell */
        data += n;
        len -= (size_t)n;
    }
}

static void respond(int fd, const char *status, const char *location, slice body)
{
    buf out = { 0 };

    buf_printf(&out, "HTTP/1.1 %s\r\nContent-Type: application/fhir+json\r\nContent-Length: %zu\r\n", status, body.len);
    if (location != NULL) buf_printf(&out, "Location: %s\r\nETag: W/\"1\"\r\n", location);
    buf_puts(&out, "\r\n");
    buf_put(&out, body);
    write_all(fd, out.ptr, out.len);
    buf_free(&out);
}

/* "Patient/17?x" and "Patient?x" both begin with the type. */
static slice type_of(slice url)
{
    size_t n = 0;
    while (n < url.len && url.ptr[n] != '/' && url.ptr[n] != '?') n++;
    return (slice){ url.ptr, n };
}

static void answer_bundle(connection *c, arena *mem, slice body)
{
    json *bundle;
    buf out = { 0 };
    const char *comma = "";

    if (json_parse(mem, body, &bundle, NULL) != ERR_OK) {
        respond(c->fd, "400 Bad Request", NULL, slice_of("{\"resourceType\":\"OperationOutcome\"}"));
        return;
    }
    buf_puts(&out, "{\"resourceType\":\"Bundle\",\"type\":\"transaction-response\",\"entry\":[");
    const json *entries = json_get(bundle, "entry");
    for (const json *e = entries != NULL ? entries->child : NULL; e != NULL; e = e->next) {
        slice type = type_of(json_text(json_get(e, "request"), "url"));
        buf_printf(&out, "%s{\"response\":{\"status\":\"201 Created\",\"location\":\"%.*s/s%llu/_history/1\","
                   "\"etag\":\"W/\\\"1\\\"\",\"lastModified\":\"2026-03-01T08:15:30Z\"}}",
                   comma, (int)type.len, type.ptr, (unsigned long long)++created);
        comma = ",";
    }
    buf_puts(&out, "]}");
    bundles++;
    respond(c->fd, "200 OK", NULL, buf_slice(&out));
    buf_free(&out);
}

static void answer(connection *c, arena *mem, slice method, slice path, slice body)
{
    char text[128];

    if (slice_eq(path, slice_of("/count"))) {
        (void)snprintf(text, sizeof text, "%llu\n", (unsigned long long)bundles);
        respond(c->fd, "200 OK", NULL, slice_of(text));
    } else if (slice_eq(method, slice_of("GET"))) {
        respond(c->fd, "200 OK", NULL, slice_of("{\"resourceType\":\"CapabilityStatement\",\"status\":\"active\","
                "\"fhirVersion\":\"4.0.1\",\"kind\":\"instance\",\"format\":[\"json\"],\"date\":\"2026-03-01\"}"));
    } else if (slice_eq(path, slice_of("/fhir")) || slice_eq(path, slice_of("/fhir/"))) {
        answer_bundle(c, mem, body);
    } else {
        slice rest = path.len > 6 ? (slice){ path.ptr + 6, path.len - 6 } : path, type = type_of(rest);
        (void)snprintf(text, sizeof text, "%.*s/s%llu/_history/1", (int)type.len, type.ptr, (unsigned long long)++created);
        respond(c->fd, "201 Created", text, slice_of(""));
    }
}

/* Answers every whole request at the front of what was read. */
static bool take_requests(connection *c, arena *mem)
{
    size_t done = 0;

    for (;;) {
        const char *at = c->in.ptr + done;
        size_t len = c->in.len - done;
        const char *end = len > 0 ? memmem(at, len, "\r\n\r\n", 4) : NULL;
        if (end == NULL) break;
        size_t head = (size_t)(end + 4 - at), length = 0;
        for (const char *line = memmem(at, head, "\r\n", 2); line != NULL && line < end;
             line = memmem(line + 2, head - (size_t)(line + 2 - at), "\r\n", 2)) {
            if (strncasecmp(line + 2, "content-length:", 15) == 0) length = strtoul(line + 17, NULL, 10);
            else if (strncasecmp(line + 2, "expect:", 7) == 0 && len == head) write_all(c->fd, "HTTP/1.1 100 Continue\r\n\r\n", 25);
        }
        if (length > REQUEST_MAX) return false;
        if (len < head + length) break;

        const char *space = memchr(at, ' ', head), *second = space == NULL ? NULL
                          : memchr(space + 1, ' ', head - (size_t)(space + 1 - at));
        if (second == NULL) return false;
        arena_reset(mem);
        answer(c, mem, (slice){ at, (size_t)(space - at) }, (slice){ space + 1, (size_t)(second - space - 1) },
               (slice){ at + head, length });
        done += head + length;
    }
    if (done > 0) {
        memmove(c->in.ptr, c->in.ptr + done, c->in.len - done);
        c->in.len -= done;
    }
    return true;
}

static bool take_bytes(connection *c, arena *mem)
{
    char chunk[65536];
    ssize_t n = read(c->fd, chunk, sizeof chunk);

    if (n < 0 && errno == EAGAIN) return true;
    if (n <= 0) return false;
    buf_put(&c->in, (slice){ chunk, (size_t)n });
    return take_requests(c, mem);
}

static void accept_one(int ep, int listener)
{
    int one = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd < 0) return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection *c = calloc(1, sizeof *c);
    if (c == NULL) fail("memory");
    c->fd = fd;
    epoll_ctl(ep, EPOLL_CTL_ADD, fd, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = c });
}

int main(int argc, char **argv)
{
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof here;
    struct epoll_event events[EVENTS];
    arena mem = { 0 };
    int one = 1;
    int ep = epoll_create1(EPOLL_CLOEXEC), listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    signal(SIGPIPE, SIG_IGN);
    if (argc > 1) here.sin_port = htons((uint16_t)strtoul(argv[1], NULL, 10));
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 128) != 0
        || getsockname(listener, (struct sockaddr *)&here, &size) != 0) fail("listen");
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &(struct epoll_event){ .events = EPOLLIN, .data.ptr = NULL });
    printf("listening %u\n", ntohs(here.sin_port));
    fflush(stdout);
    for (;;) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            connection *c = events[i].data.ptr;
            if (c == NULL) accept_one(ep, listener);
            else if (!take_bytes(c, &mem)) {
                close(c->fd);
                buf_free(&c->in);
                free(c);
            }
        }
    }
}

/* tests/unit/net/peer.h -- a loop that a test turns by hand, and raw sockets as its
 * peers: what goes over the wire is exactly what the test wrote. */
#ifndef TESTS_PEER_H
#define TESTS_PEER_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/clock.h"

#define PATIENCE_MS 10000

static inline uint64_t now_ms(void) { return clock_ns() / 1000000; }

/* Turns the loop until `holds`; fails the test when that takes too long. */
#define turn_until(loop, holds)                                               \
    do {                                                                      \
        uint64_t late_ms = now_ms() + PATIENCE_MS;                            \
        while (!(holds)) {                                                    \
            if (now_ms() > late_ms) fail_msg("never came true: %s", #holds);  \
            if (uv_run((loop), UV_RUN_NOWAIT) != 0) usleep(200);              \
        }                                                                     \
    } while (0)

static inline void turn_for(uv_loop_t *loop, uint64_t ms)
{
    uint64_t until = now_ms() + ms;
    while (now_ms() < until) { (void)uv_run(loop, UV_RUN_NOWAIT); usleep(200); }
}

/* No handle may be left open. */
static inline void end_loop(uv_loop_t *loop)
{
    turn_until(loop, !uv_loop_alive(loop));
    assert_int_equal(uv_loop_close(loop), 0);
}

typedef struct peer {
    int  fd;
    buf  got;
    bool ended, reset;
} peer;

static inline peer peer_open(uint16_t port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
    peer p = { .fd = socket(AF_INET, SOCK_STREAM, 0), .got = buf_in(NULL) };
    int on = 1;

    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(connect(p.fd, (struct sockaddr *)&at, sizeof at), 0);
    (void)setsockopt(p.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    assert_int_equal(fcntl(p.fd, F_SETFL, O_NONBLOCK), 0);
    return p;
}

/* Writes all, turning the loop while the socket is full. */
static inline void peer_send(uv_loop_t *loop, const peer *p, slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(p->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (n > 0) bytes = slice_from(bytes, (size_t)n);
        else if (errno == EAGAIN) (void)uv_run(loop, UV_RUN_NOWAIT);
        else return;                     /* the server closed: the test sees that */
    }
}

/* Takes what is there. */
static inline bool peer_read(peer *p)
{
    for (;;) {
        ssize_t n = recv(p->fd, buf_room(&p->got, 65536), 65536, 0);
        if (n > 0) { p->got.len += (size_t)n; continue; }
        if (n == 0) p->ended = true;
        else if (errno != EAGAIN) p->ended = p->reset = true;
        return p->ended;
    }
}

static inline bool peer_has(peer *p, size_t len)
{
    (void)peer_read(p);
    return p->got.len >= len;
}

static inline void peer_expect(uv_loop_t *loop, peer *p, const char *text)
{
    slice want = slice_of(text);

    turn_until(loop, peer_has(p, want.len) || p->ended);
    if (!slice_eq(buf_slice(&p->got), want))
        fail_msg("the peer got \"%.*s\", not \"%s\"", (int)p->got.len, p->got.ptr, text);
    buf_clear(&p->got);
}

static inline void peer_close(peer *p)
{
    if (p->fd >= 0) (void)close(p->fd);
    buf_free(&p->got);
    p->fd = -1;
}

#endif

/* net/stream.h -- one byte stream on a libuv loop, TCP or TLS, for every protocol.
 *
 *   OPENING --connected, handshake done--> OPEN --eof, error, stream_close--> CLOSED
 *
 * All calls and callbacks happen on the loop's thread. After `closed` (exactly
 * once, last) the stream is gone; it never comes from within a call of these
 * functions. An idle stream holds no buffers. */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <uv.h>

#include "base/buf.h"
#include "crypt/tls.h"

typedef struct stream stream;

typedef struct stream_events {
    /* Ready to write; may be NULL. Not called for an accepted clear connection,
     * which is open when stream_accept returns. */
    void (*open)(void *arg);
    void (*data)(void *arg, slice bytes);              /* borrowed until it returns */
    void (*drained)(void *arg);                        /* stream_pending fell to 0; may be NULL */
    /* ERR_OK: the peer ended, or we closed. Otherwise what broke. */
    void (*closed)(void *arg, err e, const err_info *why);
    /* The peer sends no more but may still read: who sets this gets no `data`
     * after it, may go on writing, and calls stream_close. NULL: the stream closes. */
    void (*ended)(void *arg);
} stream_events;

/* Takes the next connection of a listening handle. NULL when accept failed. A
 * TLS handshake has 10 s. */
stream *stream_accept(uv_stream_t *listener, tls_context *tls_or_null,
                      const stream_events *events, void *arg);

/* Takes the next connection and closes it at once. */
void stream_refuse(uv_stream_t *listener);

/* Connects; the name is resolved without blocking. With `tls` the server must
 * prove `host`. Errors come by `closed`. */
stream *stream_connect(uv_loop_t *loop, const char *host, uint16_t port, tls_context *tls_or_null,
                       uint64_t timeout_ms, const stream_events *events, void *arg);

/* Copies and sends; small writes go out at once where the socket takes them. Only
 * once open; after the end it does nothing. */
void stream_write(stream *s, slice bytes);
size_t stream_pending(const stream *s);  /* bytes written and not yet taken by the kernel */

/* Backpressure: stops and goes on reading. A paused stream delivers no data, but
 * for what came with the end of its TLS handshake; nor does it see the peer end. */
void stream_pause(stream *s);
void stream_resume(stream *s);

/* After what was written has gone out and the peer has had a moment to read it, at
 * most `flush_ms`; 0: at once. No `data` follows. */
void stream_close(stream *s, uint64_t flush_ms);

/* "127.0.0.1" and the like; the verified certificate name, SLICE_NONE without. */
slice stream_peer(const stream *s);
slice stream_peer_name(const stream *s);

/* Binds and listens; ERR_NET says which address and why, and what to do
 * ("127.0.0.1:2575 is in use …"). `port` 0 picks one, told by *bound_port. The
 * handle is the caller's to uv_close, after a failure too. */
must_check err net_listen(uv_loop_t *loop, uv_tcp_t *listener, const char *address, uint16_t port,
                          int backlog, uv_connection_cb on_connection, uint16_t *bound_port, err_info *why);

#endif

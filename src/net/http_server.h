/* net/http_server.h -- HTTP/1.1 on llhttp, strict about framing (RFC 9112).
 *
 * Refused with 400 and closed: Content-Length beside Transfer-Encoding, two
 * Content-Lengths, a Transfer-Encoding other than chunked, bare LF, NUL, a bad
 * CRLF after a chunk, no or two Hosts. Absolute deadlines for headers and body.
 * One request of a connection is with its handler at a time; the next ones of a
 * pipeline wait, so answers leave in order. */
#ifndef NET_HTTP_SERVER_H
#define NET_HTTP_SERVER_H

#include "net/stream.h"

typedef struct http_server http_server;
typedef struct http_request http_request;

typedef struct http_server_config {
    const char  *address;
    uint16_t     port;
    tls_context *tls;                    /* NULL: clear */
    size_t       header_cap, body_cap;   /* bytes; 431 and 413 beyond */
    uint64_t     header_ms, body_ms;     /* from the first byte, from the header's end; 408 */
    uint64_t     idle_ms;                /* between requests; and for a peer that takes nothing
                                            of what is sent to it; 0: for ever */
    unsigned     max_connections;
} http_server_config;

/* A complete request, on the loop's thread. It must be answered exactly once, by
 * http_reply, or http_stream_begin … http_stream_end, now or later, also when the
 * peer or the server is gone; until then everything that the getters give stays valid. */
typedef void (*http_handler)(void *arg, http_request *request);

must_check err http_server_open(uv_loop_t *loop, const http_server_config *config,
                                http_handler handler, void *arg, http_server **out, err_info *why);
uint16_t http_server_port(const http_server *s);
unsigned http_server_connections(const http_server *s);

/* Stops accepting, closes what is idle, answers what was begun; then, or after
 * `drain_ms`, closes every connection and calls `done`; the server is gone. Streams
 * are not ended by it: who serves them ends them. */
void http_server_close(http_server *s, uint64_t drain_ms, void (*done)(void *arg), void *arg);

arena *http_arena(http_request *r);      /* lives as long as the request */
slice http_method(const http_request *r);
slice http_path(const http_request *r);  /* percent-decoded is the caller's: http_decode */
slice http_query(const http_request *r); /* without '?' */
slice http_header(const http_request *r, const char *name);      /* any case; SLICE_NONE */
slice http_body(const http_request *r);
slice http_peer(const http_request *r);
slice http_peer_name(const http_request *r);     /* client certificate */

/* The first value of a query (or form) parameter, decoded; SLICE_NONE. */
slice http_param(arena *mem, slice query, const char *name);
/* Walks all parameters in order: true and the next pair, decoded. */
must_check bool http_param_next(arena *mem, slice *rest, slice *name, slice *value);
slice http_decode(arena *mem, slice percent, bool plus_is_blank);

/* A header to be sent with the reply; before it. Values with CR, LF or NUL die(), so
 * what came from outside must be checked or encoded by the caller. */
void http_reply_header(http_request *r, const char *name, slice value);
void http_reply(http_request *r, int status, const char *content_type, slice body);

/* A body in pieces. `on_room` is called when less than 64 kB wait to be sent again,
 * after http_stream_pending had reached that; `on_gone` when the peer left: then
 * http_stream_end must still be called. Either may be NULL. */
void http_stream_begin(http_request *r, int status, const char *content_type,
                       void (*on_room)(void *arg), void (*on_gone)(void *arg), void *arg);
void http_stream_write(http_request *r, slice piece);
size_t http_stream_pending(const http_request *r);
void http_stream_end(http_request *r);

#endif

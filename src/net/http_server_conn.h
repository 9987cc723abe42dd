/* net/http_server_conn.h -- a connection and its request, as http_server.c (reading)
 * and http_server_reply.c (answering) share them. */
#ifndef NET_HTTP_SERVER_CONN_H
#define NET_HTTP_SERVER_CONN_H

#include <time.h>

#include "net/http_server.h"
#include "net/http_server_parse.h"

#define HTTP_HIGH_WATER ((size_t)64 << 10)       /* bytes that a peer has not taken */

typedef struct http_conn http_conn;

struct http_request {
    arena       mem;
    http_head   head;
    buf         body;
    http_conn  *conn;                    /* NULL once the peer is gone */
    buf         extra;                   /* headers of the reply, in `mem` */
    slice       peer, peer_name;
    bool        streaming, chunked, bodyless;
    bool        full;                    /* `on_room` is due */
    void      (*on_room)(void *arg);
    void      (*on_gone)(void *arg);
    void       *arg;
};

void http_request_free(http_request *r); /* NULL allowed */

/* Sends on the request's connection. */
void http_conn_write(http_conn *c, slice bytes);
size_t http_conn_pending(const http_conn *c);

/* The reply was written; the request is freed, and the connection goes on. */
void http_conn_replied(http_request *r);

/* Whether it closes after the reply: the reply says so. */
bool http_conn_is_last(const http_conn *c);
void http_conn_make_last(http_conn *c);

/* "Date: …" with its line end, made once a second. */
slice http_conn_date(http_conn *c);

/* What goes in front of a body. `length` -1: none is said. */
void http_head_write(buf *out, int status, slice date, const char *content_type, int64_t length,
                     slice extra, const char *connection);

#endif

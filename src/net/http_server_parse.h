/* net/http_server_parse.h -- reads one HTTP/1 request, strictly (inside of
 * net/http_server). No sockets: it can be fed at every split point. */
#ifndef NET_HTTP_SERVER_PARSE_H
#define NET_HTTP_SERVER_PARSE_H

#include "base/buf.h"

typedef struct http_field { slice name, value; } http_field;

/* All slices point into `raw`, the header section as it came. */
typedef struct http_head {
    buf          raw;
    slice        method, path, query;
    http_field  *headers;                /* malloc */
    size_t       header_count, header_room;
    bool         old;                    /* HTTP/1.0 */
    bool         keep_alive;
    bool         expects_continue;
} http_head;

void http_head_free(http_head *h);
slice http_head_get(const http_head *h, const char *name);       /* any case; SLICE_NONE */

typedef struct http_parser http_parser;

typedef enum http_progress {
    HTTP_MORE,                           /* everything was taken */
    HTTP_BODY_FOLLOWS,                   /* once, when the header section is complete */
    HTTP_WHOLE,                          /* what is left belongs to the next request */
    HTTP_BAD                             /* see http_parser_problem; take no more */
} http_progress;

/* For one request; `head` and `body` are filled and stay the caller's. */
http_parser *http_parser_open(http_head *head, buf *body, size_t header_cap, size_t body_cap);
void http_parser_free(http_parser *p);   /* NULL allowed */

/* Takes bytes from the front of `*bytes`. */
http_progress http_parser_feed(http_parser *p, slice *bytes);

/* The status to answer, and a sentence that says why. */
int http_parser_problem(const http_parser *p, const char **why);

#endif

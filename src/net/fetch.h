/* net/fetch.h -- HTTP requests to others: libcurl's multi interface on a loop.
 *
 * TLS verification cannot be switched off; redirects are not followed; proxies of the
 * environment are not used. Connections are pooled for each host; a request on a kept
 * connection that proves dead is sent again, once, so requests must be safe to repeat;
 * the answer says so. */
#ifndef NET_FETCH_H
#define NET_FETCH_H

#include <uv.h>

#include "base/buf.h"

typedef struct fetch fetch;
typedef struct fetch_call fetch_call;

typedef struct fetch_request {
    const char *method;                  /* "GET", "POST", "PUT", … */
    slice       url;                     /* http or https */
    const slice *headers;                /* "Name: value" */
    size_t      header_count;
    slice       body;                    /* borrowed until `done` */
    uint64_t    connect_ms, total_ms;
    uint64_t    send_until_ms;           /* it is not begun to be sent later (clock_boot_ms); 0: whenever */
    size_t      answer_cap;              /* bytes of the answer's body; ERR_LIMIT beyond */
    const char *ca;                      /* PEM file; NULL: the system's */
} fetch_request;

typedef struct fetch_answer {
    err       error;                     /* ERR_OK: an answer came, of whatever status;
                                            ERR_NET, ERR_TLS, ERR_TIMEOUT, ERR_LIMIT;
                                            ERR_EXPIRED: not sent, it was too late;
                                            ERR_CONFIG: not sent, the URL or a header is wrong */
    err_info  why;
    bool      sent;                      /* the peer may have seen the request */
    bool      sent_again;                /* and more than once: this answers the last */
    int       status;
    slice     body;                      /* borrowed until `done` returns */
    slice     location, etag, retry_after, content_type;      /* SLICE_NONE when absent; borrowed */
} fetch_answer;

fetch *fetch_open(uv_loop_t *loop, unsigned connections_per_host);

/* `done` is called once, later, on the loop's thread; never from within fetch_start. */
fetch_call *fetch_start(fetch *f, const fetch_request *request,
                        void (*done)(void *arg, const fetch_answer *answer), void *arg);

/* Gives a call up: `done` will not be called. */
void fetch_cancel(fetch_call *call);

/* Cancels what is under way, ends the pool; `done` when all handles are closed. */
void fetch_close(fetch *f, void (*done)(void *arg), void *arg);

#endif

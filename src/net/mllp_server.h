/* net/mllp_server.h -- an MLLP listener: connections, deadlines, and answers that
 * leave in the order of the frames. */
#ifndef NET_MLLP_SERVER_H
#define NET_MLLP_SERVER_H

#include "net/mllp.h"
#include "net/stream.h"

typedef struct mllp_server mllp_server;
typedef struct mllp_conn mllp_conn;
typedef struct mllp_ticket mllp_ticket;  /* one frame that waits for its answer */

typedef struct mllp_server_config {
    const char  *address;                /* "0.0.0.0", "127.0.0.1", "::" */
    uint16_t     port;                   /* 0: any free one */
    tls_context *tls;                    /* NULL: clear; kept while open */
    size_t       frame_cap;              /* bytes, for example 16 MiB */
    uint64_t     idle_ms;                /* without a byte or an answer between frames; 0: for ever */
    uint64_t     frame_ms;               /* from a frame's first byte to its last (slow drip) */
    unsigned     max_connections;        /* further ones are closed at once */
    unsigned     max_in_flight;          /* frames of one connection not yet answered; then it is not read */
} mllp_server_config;

typedef struct mllp_server_events {
    /* A frame. `bytes` is borrowed until it returns. The ticket must be answered
     * exactly once by mllp_answer, now or later, also when the peer is gone, and
     * also when the server itself is gone after its drain time. */
    void (*frame)(void *arg, mllp_ticket *ticket, mllp_flaw flaw, slice bytes);
    void (*opened)(void *arg, mllp_conn *conn);        /* may be NULL */
    /* Also for a connection whose TLS handshake failed, which was never `opened`.
     * ERR_TIMEOUT when it was idle or slow. May be NULL. */
    void (*closed)(void *arg, mllp_conn *conn, err e, const err_info *why);
} mllp_server_events;

must_check err mllp_server_open(uv_loop_t *loop, const mllp_server_config *config,
                                const mllp_server_events *events, void *arg,
                                mllp_server **out, err_info *why);
uint16_t mllp_server_port(const mllp_server *s);
unsigned mllp_server_connections(const mllp_server *s);
uint64_t mllp_server_refused(const mllp_server *s);      /* closed at once, since it was opened */

/* Sends `ack` (unframed; copied) once all earlier frames of its connection are
 * answered; an empty one means that no answer is wanted. `end` closes the connection after it. */
void mllp_answer(mllp_ticket *ticket, slice ack, bool end);

/* The first of several answers to one frame: sent as above, and the ticket stays. */
void mllp_answer_part(mllp_ticket *ticket, slice ack);

/* Its connection will be closed after this answer, which is still to come: what it has sent behind it is dropped. */
void mllp_give_up(mllp_ticket *ticket);

/* What a ticket's connection is: a number that no other connection of this
 * process has, its address, its certificate's name. */
uint64_t mllp_ticket_conn(const mllp_ticket *t);
slice mllp_ticket_peer(const mllp_ticket *t);
slice mllp_ticket_peer_name(const mllp_ticket *t);

/* The same of a connection, from `opened` to the return of `closed`. */
uint64_t mllp_conn_id(const mllp_conn *c);
slice mllp_conn_peer(const mllp_conn *c);
slice mllp_conn_peer_name(const mllp_conn *c);

/* Backpressure on all connections: no more is read until resumed. */
void mllp_server_pause(mllp_server *s);
void mllp_server_resume(mllp_server *s);

/* Stops accepting and reading; frames that were read are still handed over and
 * answered, a frame that is not complete is given up (its sender gets no ACK and
 * sends it again). Then, or after `drain_ms`, closes every connection and calls
 * `done`; the server is gone. */
void mllp_server_close(mllp_server *s, uint64_t drain_ms, void (*done)(void *arg), void *arg);

#endif

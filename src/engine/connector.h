/* engine/connector.h -- a connector at work: its listener, its program, its lanes and
 * the jobs that it has in memory.
 *
 * Jobs in memory are bounded. What is stored beyond that stays in the database
 * (`behind`), and is read back, in the order of `seq`, before anything newer
 * begins. The same way serves what other nodes store, a restart and a missing pack. */
#ifndef ENGINE_CONNECTOR_H
#define ENGINE_CONNECTOR_H

#include "base/metric.h"
#include "engine/aside.h"
#include "engine/engine.h"
#include "engine/job.h"
#include "engine/settings.h"
#include "net/mllp_server.h"
#include "store/result.h"

typedef struct connector_metrics {
    metric *received, *stored, *repeated, *refused, *quarantined, *processed, *failed, *dead_lettered;
    metric *ack_seconds, *last_message, *in_memory, *oldest, *connections, *behind, *owned;
} connector_metrics;

/* What the database was asked for takes its room until it has answered. */
struct page { int messages; size_t bytes; uint64_t asked_ns; };

/* A reading of what was set aside: not the next one before this one is over and as much was read of what is new, and
 * not most of the time. */
struct release {
    bool     due, under_way;
    uint64_t began_ns;
    int64_t  until;                      /* the `seq` that readings had come to when it began */
    uint64_t rows, beyond;               /* that were looked at up to there, and since */
    uint64_t took_ns;                    /* the database */
};

/* How far a database connection of another node has stored messages of a connector. */
struct heard { uint64_t writer; int64_t base, asked_base; };

struct connector {
    map_node    node;                    /* in the engine's map by id */
    list        link;                    /* in the engine's list */
    engine     *e;
    arena       mem;                     /* of the settings below; replaced with them */
    id          connector_id;
    slice       tenant, name, status, pack_digest;
    int64_t     version;
    int64_t     port;
    slice       host;
    bool        tls;
    slice       client_auth;             /* auth_mode */
    slice      *types;                   /* message types taken; none: all */
    size_t      type_count;
    connector_settings settings;

    program    *prog;                    /* NULL until its pack is loaded */
    program    *old;                     /* an earlier one that open deliveries were made by; or NULL */
    char        old_asked[SHA256_HEX + 1];       /* the earlier one that is being read; "": none */
    size_t      old_waiting;             /* jobs that wait for an earlier one */
    routes     *routes;                  /* NULL until they are loaded */
    uint64_t    opened;                  /* what the listener stands on, hashed: address, port, TLS, limits */
    mllp_server *server;                 /* NULL while not listening */
    uv_timer_t  retry;                   /* a port that is in use is tried again */

    int64_t     epoch;                   /* of the lease by which this node runs it; 0: it does not */
    int64_t     taken;                   /* the lease that was taken and is not yet acted upon; 0: none */
    bool        holds;                   /* the lease is this node's, whether it runs the connector or not */
    bool        told_to_take, taking;    /* it is to be taken; the database is asked */
    bool        take_again;              /* it is not known whether it was, or it is to be with another lease */
    bool        told_to_leave, leaving;  /* another node is to have it */
    bool        releasing;               /* the database is told */
    uint64_t    leave_by_ms;             /* clock_boot_ms */
    struct heard *writers;               /* on the heap */
    size_t      writer_count, writer_room;

    lanes       lanes;                   /* transforming */
    list        jobs;
    size_t      job_count;               /* jobs in memory */
    size_t      entered, held;           /* of them those that are stored, and their bytes */
    size_t      weight;                  /* bytes of one that is transformed, a running mean; 0: not known */
    bool        behind, feeding, told_behind;
    size_t      failed;                  /* jobs in memory that are tried again */
    aside       aside;                   /* keys of which one failed: what stands behind it is not in memory */
    struct release release;              /* of these keys */
    bool        told_aside;
    list        streams;                 /* its deliveries by target, see stream.h */
    size_t      stream_count;
    uint64_t    made_room_ns;            /* when it was last asked for */
    bool        room_due, soon;          /* see connector_soon */
    uint64_t    readings;                /* so far; the number of the one that was asked for last */
    bool        far_behind;              /* there was more than that one could bring */
    list        parked;                  /* stored while it is under way, by seq; see connector_parked.c */
    size_t      parked_count, parked_bytes;
    int64_t     asked_epoch;             /* the lease when the database was asked */
    struct page page;                    /* of that reading */
    int         scan;                    /* messages that it looked through for it */
    size_t      asked, asked_bytes;      /* messages that all readings under way may give, also of streams */
    bool        from_start;              /* the next reading begins with the first open message */
    int64_t     fed_seq;                 /* while behind: all open messages up to here were taken */
    int64_t     asked_seq;               /* fed_seq when the database was asked */
    int64_t     heard_behind;            /* others have stored behind here since it was asked */
    int64_t     highest_read;            /* of all readings */
    int64_t     highest;                 /* and of what was stored here */
    bool        released;                /* since it was asked: the answer has passed over what may go now */
    int64_t     asked_floor;             /* ingest_floor when the database was asked */
    uint64_t    dropped, asked_dropped;  /* stored and left to be read: until now, when it was asked */
    bool        load_routes_again, load_pack_again;      /* it failed */
    bool        deliveries_fed;          /* open deliveries of before are all in memory or done, or their streams read them */
    int64_t     delivery_seq;            /* of their messages: how far they are */
    size_t      deliveries_read;
    bool        closing, stopping;       /* for good; the old listener, on its way to a new one */
    bool        told_no_pack, told_cannot_listen;
    bool        timer_closed;
    unsigned    loading;                 /* packs being opened */
    unsigned    packs_asked;             /* of the database, not yet answered */
    unsigned    pack_generation;         /* of the newest that is being opened */
    uint64_t    drain_ms;
    void      (*stopped)(void *arg);
    void       *stopped_arg;
    connector_metrics count;
};

static inline const id *connector_id_of(const connector *c) { return &c->connector_id; }

/* Makes or changes a connector from a row of feed_connectors, and starts, restarts or
 * stops its listener as its status and settings say. */
void connector_apply(engine *e, const pg_result *rows, int row);

connector *connector_find(engine *e, slice connector_id);

/* Loads the tenant's routes, or the pack, anew. */
void connector_load_routes(connector *c);
void connector_load_pack(connector *c);

/* Opens and tries a pack off the loop, with the connector's scope of now. `opened` owns `made`, which
 * is NULL when `why` says why; it is not called once the connector closes. */
typedef void (*pack_opened)(connector *c, unsigned generation, slice digest, program *made, const err_info *why);
void connector_open_pack(connector *c, slice archive, slice digest, unsigned generation, pack_opened opened);

/* Messages and deliveries may be waiting in the database: reads on as far as memory allows. */
void connector_feed(connector *c);
void connector_feed_any(connector *c);   /* though it be a few: what is in memory may wait for long */

/* Reads everything again that is open: notifications may have been missed. */
void connector_reread(connector *c);

/* Once a second: what failed is tried again, and room that others made is used. */
void connector_tick(connector *c);

/* A message of the tenant became pending again (a replay): reads it and lets it enter. */
void connector_take(engine *e, slice tenant, slice message_id);

/* A job that was just stored, in the order of `seq`: to its lanes, if there is room. */
void connector_enter(connector *c, job *j);

/* A message is stored and open, and not in memory: it is read back, and what comes after it too. */
void connector_missed(connector *c, int64_t seq);

/* Messages behind `seq` may be stored that are not in memory: they are read before anything newer goes. */
void connector_missed_behind(connector *c, int64_t seq);

/* The same from this `seq` on, which is nothing to tell of. */
void connector_read_from(connector *c, int64_t seq);

/* A node's database connection has stored messages of it, the newest from `base` on: what is not known
 * of them is read before anything newer goes. */
void connector_heard(connector *c, slice writer_name, int64_t base);

/* The database is asked for messages now: what was heard of so far will be among them. */
void connector_heard_ask(connector *c);

/* It has answered, and told what had been handed over by then (MSG_HANDED). False: something was that it was
 * not asked for, and that may come before what it gave. */
bool connector_heard_all(connector *c, slice handed);

/* This node runs it from now on: everything that is open is read. */
void connector_own(connector *c, int64_t epoch);

/* A job of an earlier lease has ended, and readings under this one may have met it: its message is read again. */
void connector_met_before(connector *c, int64_t seq);

/* It does so no more: its jobs are dropped, at once or when who holds them gives them back. */
void connector_lose(connector *c);

/* Are there jobs on their way, behind storing? */
bool connector_busy(const connector *c);

/* While it is leaving: is anything of it under way that should end first? */
bool connector_working(const connector *c);

/* Is one of the keys set aside? Then this message is, too; a job ends here. And so is one of so many that failed,
 * if it is not tried again soon (`next_us`, else 0). */
bool connector_sets_aside(connector *c, const slice *keys, size_t count, int64_t seq, int64_t next_us);
bool connector_sets_job_aside(connector *c, job *j);

/* There is little room, and something could go: what only waits leaves memory soon. Not more often than is worth it. */
void connector_make_room(connector *c);

/* What ends other jobs than the one at hand, and so is done from the loop itself (engine_soon). */
void connector_soon(connector *c);

/* A job of these keys left the lanes of transforming: what is set aside behind it is read, if anything is. */
void connector_freed(connector *c, const slice *keys, size_t count);

/* One of the messages that are set aside may have changed: all of them are looked at. */
void connector_release(connector *c);
void connector_release_due(connector *c);                /* once a second */
void connector_forget_aside(connector *c);               /* all that is open is read anew */

/* May another job come into memory? */
bool connector_has_room(const connector *c);

/* Stops listening; `done` when every frame that was read is answered. */
void connector_stop(connector *c, uint64_t drain_ms, void (*done)(void *arg), void *arg);
void connector_free(connector *c);

#endif

/* engine/inside.h -- the engine's parts, for the files of this folder only. */
#ifndef ENGINE_INSIDE_H
#define ENGINE_INSIDE_H

#include "base/clock.h"
#include "engine/connector.h"
#include "engine/deliver.h"
#include "engine/node.h"
#include "engine/relay.h"
#include "engine/transform.h"
#include "engine/waiters.h"
#include "engine/watch.h"
#include "net/fetch.h"
#include "store/feed.h"
#include "store/quarantine_in.h"

struct engine {
    uv_loop_t    *loop;
    const config *cfg;
    const char   *lua_dir;
    ingest       *in;
    outcome      *out;
    this_node    *node;
    uint64_t      send_until_ms;         /* requests that others must not be able to overtake begin before (clock_boot_ms) */
    pg           *feed;                  /* reads; shares the lock that says that nodes work here */
    pg           *ears;                  /* LISTEN */
    fetch        *http;
    transform    *pool;
    deliverer    *deliveries;
    relay        *relay;
    watch        *watched;
    waiters      *waiters;
    map           connectors;            /* by id */
    list          connector_list;
    map           jobs;                  /* by message id */
    size_t        job_count, held;
    size_t        asked, asked_bytes;    /* messages that readings under way may give, and their bytes */
    size_t        owned;                 /* connectors that run here */
    size_t        storing;               /* bytes that are not committed yet */
    list          batches;               /* that are not taken to their end, see intake.c */
    list          releasing;             /* what is being ingested from quarantine, see released.c */
    list          unkept;                /* parts whose quarantine is put again, see intake.c */
    bool          paused;                /* no listener is read: storing falls behind */
    bool          loaded;                /* connectors were read once */
    bool          load_again;            /* reading them failed */
    bool          joined;                /* it was a node of this database once: connections are there */
    bool          checked;               /* the server may be worked with, as this connection has seen */
    bool          failover_safe;
    bool          pulse_asked;
    unsigned      pulse_ticks;
    bool          checking, told_check;
    const char   *waits_for;             /* what others have to do first */
    unsigned      ticks;
    int64_t       begin_seq;             /* the `seq` of what comes is higher */
    unsigned      loading;               /* queries for connectors under way */
    bool          closing;
    err_info      fatal;                 /* code ERR_OK: none */
    err_info      store_why;             /* why the database is not there, as it was told */
    uint64_t      store_told_ns;
    hasher       *hash;                  /* the loop's own */
    uv_timer_t    tick;                  /* once a second */
    uv_idle_t     soon;                  /* while a connector is to be looked at */
    unsigned      parts;                 /* that are still closing */
    unsigned      closing_step;
    uint64_t      close_by_ns;
    void        (*woken)(void *arg);
    void         *woken_arg;
    void        (*closed)(void *arg);
    void         *closed_arg;
};

/* ---- intake.c: from a frame to a stored message ------------------------------------- */

extern const mllp_server_events intake_events;           /* arg: the connector */

/* Ingests bytes that were released from quarantine; `done` gets the id of the message that they
 * became (of a batch the first), or why they did not: ERR_CLOSED when the engine stops before it is known. */
void intake_release(connector *c, slice bytes,
                    void (*done)(void *arg, const id *message_id, const err_info *why), void *arg);

/* Shutting down: an operation that will not be committed. */
void intake_lost(ingest_op *op);

/* What could not be put into quarantine is put again; shutting down, it is given up. */
void intake_again(engine *e);
void intake_give_up(engine *e);

/* ---- released.c: out of quarantine ------------------------------------------------------ */

/* Ingests what this row of quarantine holds, if it is released and this node runs its connector. */
void released_take(engine *e, slice tenant, slice quarantine_id);

/* All rows of a connector that are released and not ingested. */
void released_look(connector *c);

/* ---- flow.c: from a stored message to its end ------------------------------------------ */

void flow_enter(job *j);                                 /* into its lanes */
/* By the pack of then, which a replay may ask for. */
void flow_enter_by(job *j, slice digest);
/* A job whose deliveries are open: transformed again by the pack of then, in its lanes. */
void flow_again(job *j, slice digest);
void flow_transformed(void *arg, job *j);                /* back from a thread */
void flow_repacked(job *j);                              /* its pack of then is there, or why not */
void flow_replayed(job *j);                              /* replayed or skipped: this run ends, what the database has is read */
void flow_end(job *j);                                   /* there is room for another */
void flow_left(job *j);                                  /* nothing of it is here any more, the database has it */
void flow_try_now(job *j);                               /* what it waits for is not waited for any longer */
void flow_later(job *j);                                 /* runs it again in a second */
void flow_delivered(job *j);                             /* one more delivery has ended and is committed */
/* A failed or dead message was sent again: tried at once (promise P2). */
void flow_try_again(connector *c, const id *message_id);
void flow_abandon(job *j);                               /* shutting down: the database has it */

/* ---- connector_parked.c: stored while the database is being read ------------------------ */

/* False: it is not to wait here, but to be read back. */
bool parked_put(connector *c, job *j);
void parked_leave(job *j);
job *parked_take(connector *c, slice message_id);        /* NULL: it is not among them */
/* Those that were here when the last reading was asked for, up to this seq, enter. */
void parked_enter_until(connector *c, int64_t seq);
void parked_enter_all(connector *c);
void parked_drop(connector *c);                          /* they are read back */

/* ---- old_pack.c: the pack of then ----------------------------------------------------- */

/* Sets run_program, now or later; then flow_repacked is called. */
void old_pack_wait(job *j, slice digest);
void old_pack_ask(connector *c);                         /* reads the next one, if any is waited for */

/* Index a job whose `bytes` and `text` are set. */
must_check err job_parse(job *j, err_info *why);

/* ---- pulse.c: what may change about the database ---------------------------------------- */

void pulse_tick(engine *e);
void pulse_says(engine *e, bool failover_safe);          /* tells a change */

/* The statements of the feed connection. */
const pg_statement *const *engine_statements(void);

/* This process is a node now; `first`: it was none before. */
void engine_joined(engine *e, const id *node_id, bool first);

/* The next step of a clean stop, if it is due. */
void engine_close_step(engine *e);

/* connector_soon is called, from the loop itself. */
void engine_soon(connector *c);

static inline bool engine_may_send(const engine *e) { return clock_boot_ms() < e->send_until_ms; }

/* Events were committed. */
void engine_told(engine *e);

/* Raises an event about a connector, with the id of what it is about. */
void engine_tell(connector *c, const char *event, slice about);

/* Stops and goes on reading from all listeners as storing falls behind and catches up. */
void engine_balance(engine *e);

#endif

/* engine/job.h -- one message on its way: everything that is known of it stands in
 * one arena, which is freed when the way ends.
 *
 *   STORING -> (PARKED) -> QUEUED (lane) -> RUNNING (thread) -> COMMITTING -> DELIVERING -> ended
 *                             ^                                    |
 *                             `---------- RETRYING (timer) <-------'
 *
 * A job belongs to the loop's thread, and while RUNNING to one transform thread. */
#ifndef ENGINE_JOB_H
#define ENGINE_JOB_H

#include <uv.h>

#include "engine/lanes.h"
#include "engine/plan.h"
#include "engine/program.h"
#include "hl7/head.h"
#include "store/ingest.h"
#include "store/outcome.h"

typedef struct connector connector;
typedef struct engine engine;

typedef enum job_state {
    JOB_STORING, JOB_PARKED, JOB_QUEUED, JOB_RUNNING, JOB_COMMITTING, JOB_RETRYING, JOB_DELIVERING
} job_state;

/* A delivery that was read back: made by an earlier run of this message. */
typedef struct again {
    id      delivery_id;
    int     attempts;
    int64_t next_attempt_us;
    bool    ended;
} again;

typedef struct job {
    job_state   state;
    arena       mem;
    list        link;                    /* in its connector's list of jobs */
    map_node    node;                    /* in the engine's map by message id, once `indexed` */
    bool        indexed;
    connector  *conn;
    id          message_id;
    slice       bytes, text;             /* as received; as UTF-8 (the same when it is that) */
    const hl7_msg *raw, *msg;            /* indexes over `bytes` and over `text` */
    hl7_head    sent, head;              /* of the one, for the answer; of the other, for the row */
    bool        exact;                   /* `text` is `bytes` */
    slice       keys[HL7_KEYS_MAX];
    size_t      key_count;
    int64_t     seq, received_us;
    int64_t     epoch;                   /* of the lease under which it entered */
    uint64_t    read_ns;                 /* when the frame was complete; 0: read back */
    int         replay, attempts;
    int64_t     next_attempt_us;         /* 0: at once */
    bool        by_pack_of_then;         /* run_program is not the connector's of now */
    bool        redelivery;              /* transformed before: only deliveries are open */
    struct stream *read_for;             /* it was read for these of them; NULL: for all */
    bool        coming;                  /* and is not there yet */
    bool        passed_over;             /* meanwhile another stream met it, and could not wait */
    again      *again;                   /* its deliveries, by ordinal; */
    plan_made  *made;                    /* and as what they were made */
    int         again_count;
    int         rederived;               /* how often that failed */

    lane_pass   pass;                    /* the lane of transforming */
    lane_ticket tickets[HL7_KEYS_MAX];
    uv_timer_t *timer;                   /* RETRYING; on the heap, closed behind us */

    uint64_t    parked_in;               /* PARKED: the number of the reading during which it came */
    list        run_link;                /* transform threads; PARKED: those that are */
    program    *run_program;             /* kept */
    char        run_digest[SHA256_HEX + 1];      /* of an older pack that is being loaded, */
    bool        pack_pending;                    /* while this holds */
    routes     *run_routes;
    err         run_error;
    err_info    run_why;
    slice       parsed;
    plan        plan;
    script_event *events;
    size_t      event_count;

    struct storing *storing;             /* STORING: whom to answer, see intake.c */
    ingest_op   store;
    outcome_op  outcome;
    bool        reading_links;           /* what its ended deliveries were answered */
    bool        set_aside;               /* it is about to end: the database has it */
    bool        replayed;                /* another run of this message waits in the database */
    bool        result_refused;          /* the database would not take the result */
    bool        entered;                 /* its deliveries are in their lanes, or where else they are to be */
    size_t      open_deliveries;         /* that are here */
    bool        any_dead;                /* a delivery was dead-lettered */
    struct delivery *deliveries;         /* plan.count of them, see deliver.h */
    size_t      held;                    /* bytes accounted to the engine, and to the connector once `indexed` */
} job;

/* An empty job of a connector, counted there. Frees with job_end. */
job *job_new(connector *c);
job *job_find(engine *e, const char *message_id);        /* NULL when it is not in memory */
void job_weigh(job *j);                  /* accounts what its arena holds by now */
void job_end(job *j);

/* Its connector is another node's by now, or it was replayed or skipped: it begins nothing more. */
bool job_is_orphan(const job *j);

/* May it begin its next step? Not while its connector is leaving: what was begun ends, the rest is dropped. */
bool job_may_begin(const job *j);

/* An orphan comes back, or is found: dropped, unless a thread or the store still has it. */
bool job_drop(job *j);

#endif

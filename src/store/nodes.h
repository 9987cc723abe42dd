/* store/nodes.h -- engines that share a database, and the leases by which they divide its connectors
 * (sql/0003_nodes.sql).
 *
 * Each call is one unit on the connection, which must know nodes_statements. */
#ifndef STORE_NODES_H
#define STORE_NODES_H

#include "store/pg.h"
#include "store/rows.h"

extern const pg_statement *const nodes_statements[];

/* A process: `host` names a run of a machine and a namespace of processes, within which `pid` and
 * `since` (the kernel's start time) mean one process and never another. */
typedef struct node_process {
    slice   name, host;
    int     pid;
    int64_t since;
} node_process;

/* Makes the node known; its leases hold for lease_ms from now on. */
void nodes_join(pg *c, slice node_id, const node_process *self, int lease_ms, pg_done done, void *arg);

enum { NODE_SLICES = 16 };              /* of the aggregates, for publishing their events */

enum { BEAT_ALIVE, BEAT_CHANGES, BEAT_NEIGHBOURS, BEAT_SLICES, BEAT_NODES };       /* results */
enum { CHANGE_CONNECTOR, CHANGE_TAKE };
enum { NEIGHBOUR_ID, NEIGHBOUR_PID, NEIGHBOUR_SINCE };

/* Renews the leases of a node and ends those that were not renewed for grace_ms beyond their time. Results:
 * whether the node still has its own; connectors that it is to take or to give up; other nodes of its
 * host; the slices of events that it publishes; how many nodes there are. */
void nodes_beat(pg *c, slice node_id, slice host, int lease_ms, int grace_ms, pg_done done, void *arg);

/* Takes what is free of these; result 0: connector and epoch of each that the node holds now. */
void nodes_take(pg *c, slice node_id, const slice *connectors, size_t count, pg_done done, void *arg);

/* Gives connectors up. */
void nodes_release(pg *c, slice node_id, const slice *connectors, size_t count, pg_done done, void *arg);

/* The node is no more: what it held is free. */
void nodes_leave(pg *c, slice node_id, pg_done done, void *arg);

/* Transactions that store and began before `moment`, text of a timestamptz; none: now. Result 0: the
 * moment, and how many there are. They may have been told of leases as they were then. */
void nodes_earlier_writers(pg *c, slice moment, pg_done done, void *arg);

/* For people: one node. */
typedef struct node_row {
    slice   id, name, release, started_at, expires_at;
    int64_t connectors;                  /* that it holds the leases of */
    bool    expired;                     /* it did not renew them in time */
} node_row;

/* Those that have not ended, the oldest first. */
must_check err nodes_list(db *d, arena *mem, node_row **out, size_t *count, err_info *why);

/* Ends the connections of such transactions where they belong to no node; result 0: a row for each. */
void nodes_fence(pg *c, slice moment, pg_done done, void *arg);

#endif

/* engine/node.h -- this engine as one of several on a database: which connectors it runs, and until when.
 *
 *   OUT --join--> IN --taken for dead--> OUT (as another node)
 *
 * A node renews its leases every second; they hold for LEASE_MS, and it begins no request beyond
 * that (engine.send_until_ms; promise P3). Others take its connectors GRACE_MS later, at once where its process is known
 * to be gone or it has said that it leaves. Which node is to have a connector follows from the ids of both, so that all
 * nodes agree without talking; it is given up when a node comes that is to have it. */
#ifndef ENGINE_NODE_H
#define ENGINE_NODE_H

#include "engine/job.h"
#include "store/nodes.h"

typedef struct this_node this_node;

this_node *node_new(engine *e);

/* The database is there and may be worked on: becomes a node of it, then engine_joined is called, once. */
void node_begin(this_node *n);

void node_tick(this_node *n);                 /* once a second */
void node_soon(this_node *n);                 /* connectors came: looks at once which are to be taken */

/* Another node has it, says the database. */
void node_lost(this_node *n, connector *c);

/* Its id for people; NULL while it is none. */
const char *node_name(const this_node *n);

/* Says that it leaves; `done` when that is known, or cannot be told. */
void node_end(this_node *n, void (*done)(void *arg), void *arg);
void node_free(this_node *n, void (*done)(void *arg), void *arg);

#endif

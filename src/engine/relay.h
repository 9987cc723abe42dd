/* engine/relay.h -- publishes the outbox to NATS JetStream (promise P10): at least once, in
 * order for each aggregate, with the event's id as the message id that the broker
 * deduplicates by. Marked as published only when the broker has acknowledged. */
#ifndef ENGINE_RELAY_H
#define ENGINE_RELAY_H

#include <uv.h>

#include "store/pg.h"

typedef struct relay relay;

/* `feed` reads the outbox. The stream `interop` (subjects interop.>) is made if missing;
 * it keeps events for `window_hours`. A broker that is not there is tried again for ever. */
relay *relay_open(uv_loop_t *loop, pg *feed, const char *nats_url, int64_t window_hours);

/* The slices of aggregates that this node publishes from now on, NODE_SLICES at most; none: another one does. */
void relay_share(relay *r, const int *slices, int count);

void relay_wake(relay *r);               /* events were committed */
bool relay_connected(const relay *r);
int64_t relay_published(const relay *r); /* acknowledged by the broker so far */
int64_t relay_behind(const relay *r);    /* events read and not yet acknowledged */

void relay_close(relay *r, void (*done)(void *arg), void *arg);

#endif

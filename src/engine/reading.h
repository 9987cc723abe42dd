/* engine/reading.h -- what the readings of a connector have in common: the room that memory has, pages of rows and
 * the jobs that they become, and how often what is set aside is looked at. */
#ifndef ENGINE_READING_H
#define ENGINE_READING_H

#include "engine/connector.h"

/* How many messages may come into memory. */
size_t reading_room(const connector *c);

/* Is as much free as is taken? */
bool reading_is_roomy(const connector *c);

/* Is this so soon that what is tried again then does not leave memory before? */
bool reading_is_soon(int64_t next_us);

/* A page is asked for, of at most as many messages as here; it has come. Meanwhile it takes its room. */
void reading_ask(connector *c, struct page *p, size_t messages);
void reading_answered(connector *c, struct page *p);

/* Is the connector worked with here, and has it all that it takes? */
bool reading_may_begin(const connector *c);

/* Is the answer of use? If not what was asked is asked again: at once when the connection was lost (it
 * waits for the new one), else at the next tick, and it was logged. */
bool reading_went_well(const connector *c, err e, const err_info *why);

/* The job of a row of feed_messages; of the rows of a message of feed_deliveries, from `row` to before `end`. */
job *reading_job(connector *c, const pg_result *r, int row);
job *reading_job_again(connector *c, const pg_result *r, int row, int end);

/* The row behind the last one of the message that `row` is of. */
int reading_rows_end(const pg_result *r, int row);

/* How many messages to look through for the next page, when this one had `found` of `rows` among `scan`. */
int reading_next_scan(int scan, int rows, int found);

bool release_may_begin(struct release *r);      /* if not, it is due */
void release_began(struct release *r, int64_t until);
/* A page came to this `seq`, or to the end (INT64_MAX), for which so many rows were looked at. */
void release_reached(struct release *r, const struct page *p, int rows, int64_t seq);

#endif

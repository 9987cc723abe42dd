/* engine/stream.h -- the deliveries of one connector to one target: which are in memory, and which wait in the
 * database.
 *
 * All are in memory as long as there is room. When there is none, those leave that only wait: behind one that failed
 * (their keys are set aside), or for a target that is not there or too slow (the stream is read then: from where
 * it left off, a page whenever few are left in memory, until there is no more). While it is read, what is newly made
 * for the target stays in the database too. They come back in the order of their messages' `seq`, in which messages
 * of one key are transformed; for that they are transformed again. */
#ifndef ENGINE_STREAM_H
#define ENGINE_STREAM_H

#include "engine/connector.h"
#include "engine/delivery.h"

typedef struct stream {
    list        link;                    /* in its connector's */
    connector  *conn;
    char       *url;
    uint64_t    scope;                   /* of its lanes */
    size_t      inside;                  /* deliveries in its lanes */
    size_t      failed;                  /* of them those that are tried again */
    size_t      coming;                  /* messages read back whose deliveries are not there yet */
    aside       aside;
    struct release release;              /* of these keys */
    bool        reading;                 /* what is behind `cursor` is in the database, or parked */
    bool        asked;                   /* for a page of it */
    int64_t     missed_from;             /* more was left to the database since, from here on; INT64_MAX: not */
    bool        rewound;                 /* what is on its way may not be in order any more */
    bool        held_up;                 /* by a message that is on its way to its lanes */
    int64_t     highest;                 /* `seq` of all that had to do with it */
    bool        near_end, at_end;        /* the last page was not full; and none was missed */
    int64_t     cursor, asked_cursor;    /* the `seq` up to which all is in memory, set aside or ended; then */
    int64_t     asked_epoch;
    struct page page;
    int         scan;                    /* messages that a page is looked for in */
    list        parked;                  /* made while the end is near; by `link` of delivery */
    size_t      parked_count;
    bool        told;                    /* that it is behind */
    bool        stuck;                   /* of stream_room.c: the target takes nothing; */
    size_t      may_stay;                /* and how many stay for it to try */
} stream;

/* The stream of the connector to this service; it lives as long as the connector. */
stream *stream_of(connector *c, slice url);

/* How many deliveries stay in memory for a target that does not take them; with fewer, a reading goes on. */
size_t stream_keeps(const connector *c);

/* A delivery that is not in its lanes goes there, or is parked, or stays in the database, which is noted. */
void stream_put(delivery *d);

/* Out of where it is parked, if it is. All that are parked: the database has them. */
void stream_take_out(delivery *d);
void stream_unpark(stream *s);

/* A reading met a message that is in memory: what it has for this target, or NULL: for all that are not read on
 * their own, goes into its lanes; perhaps nothing of it remains. False: it is on its way there, and says when it is. */
bool stream_meet(stream *s, job *j);

/* Does it need the answer of one that is left to the database? */
bool stream_needs_one_aside(const delivery *d);

/* One of a job of these keys has left its lanes. */
void stream_freed(stream *s, const slice *keys, size_t count);

/* A message that is open for it, with this `seq`, is not in memory. */
void stream_missed(stream *s, int64_t seq);

/* A job that was read for it is where it should be, or is no more. */
void stream_came(stream *s);

/* What is set aside is looked at again: what it waited for may be over. */
void stream_release(stream *s);

void streams_feed(connector *c);
void streams_end(connector *c);          /* the readings that have come to their end: what is parked follows */
void streams_release(connector *c, bool due);            /* `due`: only those that are */
bool streams_wait(const connector *c);                   /* is anything of them in the database only? */
void stream_tell(stream *s, bool behind);                /* logs it, when it is news */
void streams_tick(connector *c);                         /* once a second */

/* Deliveries that only wait leave memory, but for `stay` of each target; with `failed` also such as failed and are
 * not tried again soon. */
void streams_make_room(connector *c, bool failed, size_t stay);

/* All that are known are read from the database, behind this `seq`. */
void streams_read_from(connector *c, int64_t seq);
size_t streams_reading(const connector *c, slice *urls, size_t room);    /* their URLs */

void streams_reset(connector *c);        /* another lease: all that is known of the database is forgotten */
void streams_free(connector *c);

#endif

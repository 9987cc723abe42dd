/* store/writer.h -- group commit: what is put while one batch is on its way to the
 * disk becomes the next batch, one transaction for all of it.
 *
 * - An error that lies in a row (SQLSTATE class 22 or 23) makes the batch go
 *   again one operation at a time: only the bad one fails.
 * - An error that lies in the database (disk full, deadlock, shutdown, a missing
 *   right) makes the batch wait and go again as it is; nothing is given up. It is
 *   told once in a while, however often it is tried.
 * - A lost connection makes it go again too, and the commit may have happened:
 *   so every operation must be one that can be repeated. */
#ifndef STORE_WRITER_H
#define STORE_WRITER_H

#include "store/pg.h"

typedef struct writer writer;

/* For pg_options.on_connect: the statements of a batch find rows by key, also when their plan
 * was made while the table was empty. */
extern const char *const writer_planner[];

/* SQLSTATE of interop_lease_check: an operation for a connector that another node has. */
#define WRITER_LEASE_LOST "IO001"

/* Does this error lie in what is written, so that writing it again cannot help? */
bool writer_rows_fault(const char *sqlstate);

typedef struct write_op { list link; } write_op;         /* embedded in what is written */

typedef struct writer_kind {
    size_t room;                                         /* most operations of one batch */
    /* After a batch of several, what comes next is waited for, as long as that one took and this at most, unless
     * half of `room` is there: under load fewer and larger transactions, and alone none waits. 0: not at all. */
    unsigned gather_ms;
    size_t (*weight)(const write_op *op);                /* its bytes, roughly: a batch has a bound for those too */
    /* May `op` join the batch? NULL: always. An op that may not waits for the next. */
    bool (*fits)(void *arg, const list *batch, const write_op *op);
    /* Adds the statements for the operations of `batch` (in their order). */
    void (*build)(void *arg, pg_unit *unit, list *batch);
    /* The batch was refused for its rows. True: it goes again as it is, and `build` will do it in
     * another way. NULL: never. */
    bool (*again)(void *arg, const char *sqlstate);
    /* The database refused the batch and kept nothing of it; NULL: of no interest. */
    void (*undone)(void *arg, const list *batch);
    /* Committed. Takes every operation out of `batch` and completes it. Returns
     * false when it has more to ask first: then nothing is sent until writer_resume. */
    bool (*committed)(void *arg, list *batch, const pg_result *results, int count);
    /* This one, alone in its batch, was refused; complete it. */
    void (*refused)(void *arg, write_op *op, const char *sqlstate, const err_info *why);
} writer_kind;

/* The connection is the caller's; a writer has one batch under way at a time. */
writer *writer_new(pg *conn, uv_loop_t *loop, const writer_kind *kind, void *arg);
void writer_put(writer *w, write_op *op);
void writer_put_front(writer *w, write_op *op);          /* before all that waits */
void writer_resume(writer *w);
/* The same after a pause: the database could not answer what `committed` had to ask. */
void writer_rest(writer *w, const char *sqlstate, const err_info *why);

/* False when the database has refused what is to be written for a while; `why` (may be NULL) says what and
 * what to do. */
bool writer_is_well(const writer *w, err_info *why);
size_t writer_waiting(const writer *w);                  /* operations not yet completed */

/* The operations that never ended go to `left`; the connection is closed right behind. */
void writer_free(writer *w, list *left, void (*closed)(void *arg), void *arg);

#endif

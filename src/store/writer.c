/* store/writer.c -- one batch under way, the rest queued behind it.
 *
 *   IDLE --put--> SENT --committed--> (RESUMING) --> (GATHERING) --> IDLE
 *                  | row's fault: solo, one operation a batch
 *                  `- database's fault or lost: RESTING, then the same again
 *
 * What is put while nothing is under way waits until the loop has read what is there from all
 * sockets: one batch instead of a small one and a large one behind it.
 *
 * A batch is bounded by its bytes too: PostgreSQL takes no statement of a gigabyte, and
 * would close the connection on it again and again. */
#include "store/writer.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/advice.h"

enum { REST_MS = 200, MOST_BYTES = 32 << 20, TELL_AGAIN_MS = 30000, UNWELL_MS = 1500 };

const char *const writer_planner[] = {
    "SET enable_seqscan = off", "SET enable_hashjoin = off", "SET enable_mergejoin = off",
    "SET plan_cache_mode = force_generic_plan", NULL
};

typedef enum { WRITER_IDLE, WRITER_SENT, WRITER_RESUMING, WRITER_GATHERING, WRITER_RESTING, WRITER_CLOSED } writer_state;

struct writer {
    writer_state       state;
    pg                *conn;
    const writer_kind *kind;
    void              *arg;
    list               queued, batch;
    size_t             queued_count, batch_count, solo;
    size_t             together;         /* operations of the batch that was sent last */
    uint64_t           sent_ns;          /* when it was sent */
    uint64_t           failing_ns;       /* since when nothing was committed; 0: all is well */
    uint64_t           told_ns;
    char               told[6];          /* the SQLSTATE that was told last */
    err_info           why;
    uv_timer_t         timer;
    uv_check_t         read;             /* the loop has read all that was there */
    uv_prepare_t       waits;            /* it is about to wait: for what is put by timers */
    int                handles;          /* to be closed */
    void             (*closed)(void *arg);
    void              *closed_arg;
};

static void writer_send(writer *w);

static void send_collected(writer *w)
{
    uv_check_stop(&w->read);
    uv_prepare_stop(&w->waits);
    writer_send(w);
}

static void on_read(uv_check_t *h) { send_collected(container_of(h, writer, read)); }
static void on_waits(uv_prepare_t *h) { send_collected(container_of(h, writer, waits)); }

static bool may_gather(const writer *w)
{
    return w->kind->gather_ms > 0 && w->together > 1 && w->solo == 0 && w->queued_count < w->kind->room / 2;
}

static void send_soon(writer *w)
{
    if (w->state == WRITER_GATHERING && !may_gather(w)) {
        uv_timer_stop(&w->timer);
        w->state = WRITER_IDLE;
    }
    if (w->state != WRITER_IDLE) return;
    uv_check_start(&w->read, on_read);
    uv_prepare_start(&w->waits, on_waits);
}

/* It has rested, or gathered. */
static void on_timer(uv_timer_t *t)
{
    writer *w = container_of(t, writer, timer);
    w->state = WRITER_IDLE;
    writer_send(w);
}

writer *writer_new(pg *conn, uv_loop_t *loop, const writer_kind *kind, void *arg)
{
    writer *w = mem_zalloc(sizeof *w);

    w->conn = conn;
    w->kind = kind;
    w->arg = arg;
    list_init(&w->queued);
    list_init(&w->batch);
    if (uv_timer_init(loop, &w->timer) != 0 || uv_check_init(loop, &w->read) != 0 || uv_prepare_init(loop, &w->waits) != 0)
        die("writer_new failed");
    return w;
}

size_t writer_waiting(const writer *w) { return w->queued_count + w->batch_count; }

/* The batch goes back to the front of the queue, in its order. */
static void requeue(writer *w)
{
    while (!list_empty(&w->batch)) {
        list *last = w->batch.prev;
        list_remove(last);
        list_push_front(&w->queued, last);
    }
    w->queued_count += w->batch_count;
    w->batch_count = 0;
}

static uint64_t ms_since(uint64_t ns) { return (clock_ns() - ns) / 1000000; }

static void rest(writer *w, const char *sqlstate, const err_info *why)
{
    const char *advice = advice_for(sqlstate);
    bool known = w->told_ns != 0 && strcmp(w->told, sqlstate) == 0 && ms_since(w->told_ns) < TELL_AGAIN_MS;

    if (w->failing_ns == 0) w->failing_ns = clock_ns();
    (void)err_set(&w->why, why->code, "%s%s%s", why->text, advice == NULL ? "" : "; ", advice == NULL ? "" : advice);
    if (!known) {
        log_line(LOG_WARN, "store.batch_waits", log_id("sqlstate", slice_of(sqlstate)), log_why(&w->why),
                 log_int("operations", (int64_t)writer_waiting(w)), log_word("then", "tried again until it succeeds"));
        w->told_ns = clock_ns();
        (void)slice_cstr(slice_of(sqlstate), w->told, sizeof w->told);
    }
    requeue(w);
    w->state = WRITER_RESTING;
    uv_timer_start(&w->timer, on_timer, REST_MS, 0);
}

void writer_rest(writer *w, const char *sqlstate, const err_info *why)
{
    if (w->state == WRITER_RESUMING) rest(w, sqlstate, why);
}

bool writer_is_well(const writer *w, err_info *why)
{
    if (w->failing_ns == 0 || ms_since(w->failing_ns) < UNWELL_MS) return true;
    if (why != NULL) (void)err_set(why, ERR_STORE, "%s", w->why.text);
    return false;
}

/* What was told is over. */
static void recover(writer *w)
{
    if (w->failing_ns != 0 && ms_since(w->failing_ns) >= UNWELL_MS)
        log_line(LOG_INFO, "store.batch_goes_on", log_int("ms", (int64_t)ms_since(w->failing_ns)));
    w->failing_ns = 0;
}

bool writer_rows_fault(const char *sqlstate)
{
    return strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "23", 2) == 0 ||
           strncmp(sqlstate, "54", 2) == 0 ||            /* an index row too long and the like */
           strcmp(sqlstate, WRITER_LEASE_LOST) == 0;
}

static void on_answered(void *arg, err e, const pg_result *results, int count,
                        const char *sqlstate, const err_info *why)
{
    writer *w = arg;

    if (w->state == WRITER_CLOSED) return;
    if (e == ERR_STORE && w->kind->undone != NULL) w->kind->undone(w->arg, &w->batch);
    if (e == ERR_OK) {
        w->state = WRITER_RESUMING;
        w->batch_count = 0;
        if (w->kind->committed(w->arg, &w->batch, results, count)) writer_resume(w);
    } else if (e == ERR_STORE && w->kind->again != NULL && w->kind->again(w->arg, sqlstate)) {
        requeue(w);
        w->state = WRITER_IDLE;
        writer_send(w);
    } else if (e == ERR_STORE && writer_rows_fault(sqlstate) && w->batch_count == 1) {
        w->batch_count = 0;
        recover(w);
        w->kind->refused(w->arg, container_of(list_pop(&w->batch), write_op, link), sqlstate, why);
        w->state = WRITER_IDLE;
        writer_send(w);
    } else if (e == ERR_STORE && writer_rows_fault(sqlstate)) {
        w->solo = w->batch_count;
        requeue(w);
        w->state = WRITER_IDLE;
        writer_send(w);
    } else {
        rest(w, sqlstate, why);
    }
}

void writer_resume(writer *w)
{
    if (w->state != WRITER_RESUMING) return;
    recover(w);
    if (may_gather(w)) {
        uint64_t took_ms = ms_since(w->sent_ns);
        w->state = WRITER_GATHERING;
        uv_timer_start(&w->timer, on_timer, took_ms < w->kind->gather_ms ? took_ms : w->kind->gather_ms, 0);
        return;
    }
    w->state = WRITER_IDLE;
    writer_send(w);
}

static void writer_send(writer *w)
{
    size_t most = w->solo > 0 ? 1 : w->kind->room, bytes = 0;

    if (w->state != WRITER_IDLE || list_empty(&w->queued)) return;
    list_each_safe(l, &w->queued) {
        write_op *op = container_of(l, write_op, link);
        if (w->batch_count == most) break;
        if (w->kind->fits != NULL && !w->kind->fits(w->arg, &w->batch, op)) continue;
        bytes += w->kind->weight(op);
        if (bytes > MOST_BYTES && w->batch_count > 0) break;
        list_remove(l);
        list_push(&w->batch, l);
        w->batch_count++;
    }
    if (w->solo > 0) w->solo--;
    w->queued_count -= w->batch_count;
    w->together = w->batch_count;
    w->state = WRITER_SENT;
    w->sent_ns = clock_ns();
    pg_unit *unit = pg_unit_new(w->conn);
    w->kind->build(w->arg, unit, &w->batch);
    pg_submit(unit, on_answered, w);
}

void writer_put_front(writer *w, write_op *op)
{
    list_push_front(&w->queued, &op->link);
    w->queued_count++;
    send_soon(w);
}

void writer_put(writer *w, write_op *op)
{
    list_push(&w->queued, &op->link);
    w->queued_count++;
    send_soon(w);
}

static void on_handle_closed(uv_handle_t *h)
{
    writer *w = h->data;
    void (*closed)(void *) = w->closed;
    void *arg = w->closed_arg;

    if (--w->handles > 0) return;
    free(w);
    closed(arg);
}

void writer_free(writer *w, list *left, void (*closed)(void *arg), void *arg)
{
    requeue(w);
    list_splice(left, &w->queued);
    w->state = WRITER_CLOSED;
    w->closed = closed;
    w->closed_arg = arg;
    w->handles = 3;
    w->timer.data = w->read.data = w->waits.data = w;
    uv_close((uv_handle_t *)&w->timer, on_handle_closed);
    uv_close((uv_handle_t *)&w->read, on_handle_closed);
    uv_close((uv_handle_t *)&w->waits, on_handle_closed);
}

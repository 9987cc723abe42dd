/* engine/relay.c -- the loop reads batches and marks them, a thread talks to the broker.
 *
 *   IDLE --woken--> READING --ids, then rows by tenant--> PUBLISHING --all answered--> MARKING --> IDLE
 *
 * Of one aggregate only one event is with the broker at a time; its next is handed to the
 * thread when that one was acknowledged. What was not acknowledged stays unpublished in the
 * outbox and comes with a later batch; the broker knows it again by Nats-Msg-Id. */
#include "engine/relay.h"

#include <nats/nats.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/queue.h"
#include "base/ulid.h"
#include "store/feed.h"
#include "store/nodes.h"

enum { BATCH = 2000, POLL_MS = 1000, REST_MS = 500, ACK_WAIT_MS = 5000, GIVE_UP_MS = 4 * ACK_WAIT_MS, CLOSE_MS = 2000,
       DEDUPLICATE_S = 600 };

#define STREAM "interop"

typedef enum relay_state { RELAY_IDLE, RELAY_READING, RELAY_PUBLISHING, RELAY_MARKING, RELAY_CLOSED } relay_state;

typedef struct event {
    list          link;                  /* to the thread and back */
    map_node      node;                  /* by id, while it is with the broker */
    slice         event_id, subject, payload, aggregate;
    int64_t       seq;
    struct event *next;                  /* of the same aggregate */
    bool          acked;
} event;

typedef struct broker_answer { list link; bool acked; char event_id[ID_MAX + 1]; } broker_answer;

struct relay {
    relay_state  state;
    uv_loop_t   *loop;
    pg          *feed;
    char        *url;
    int64_t      window_hours;
    arena        mem;                    /* of the batch */
    event      **events;
    size_t       count, left;            /* left: not yet answered */
    unsigned     reads;
    bool         woken, any_failed;
    uint64_t     told_ns;                /* when the database's error was told */
    uint64_t     handed_ns;              /* when the last event was handed to the thread */
    size_t       handed;                 /* so far; */
    atomic_size_t taken;                 /* of them the thread is done with the memory */
    map          with_broker;
    queue        to_broker;
    queue        answers;
    uv_async_t   answered;
    uv_timer_t   timer;
    pthread_t    thread;
    atomic_bool  connected, closing, ended;      /* ended: the thread */
    atomic_bool  check_stream;           /* something failed: it may be gone */
    int64_t      published;
    int          slices[NODE_SLICES], slice_count;
    void       (*closed)(void *arg);
    void        *closed_arg;
    int          handles;
};

/* ---- the thread ------------------------------------------------------------------------- */

static void answer_put(relay *r, const char *event_id, bool acked)
{
    broker_answer *a = mem_zalloc(sizeof *a);

    a->acked = acked;
    (void)slice_cstr(slice_of(event_id), a->event_id, sizeof a->event_id);
    if (queue_put(&r->answers, &a->link)) (void)uv_async_send(&r->answered);
}

static void on_broker_answer(jsCtx *js, natsMsg *msg, jsPubAck *ack, jsPubAckErr *failed, void *arg)
{
    const char *event_id = NULL;

    (void)js; (void)failed;
    if (ack == NULL) atomic_store(&((relay *)arg)->check_stream, true);
    if (natsMsgHeader_Get(msg, "Nats-Msg-Id", &event_id) == NATS_OK) answer_put(arg, event_id, ack != NULL);
    natsMsg_Destroy(msg);
}

static void publish(relay *r, jsCtx *js, const event *ev)
{
    char *subject = mem_dup(ev->subject), event_id[ID_MAX + 1];
    jsPubOptions options;
    natsMsg *msg = NULL;
    natsStatus s;

    failpoint("relay.before_publish");
    (void)slice_cstr(ev->event_id, event_id, sizeof event_id);
    (void)jsPubOptions_Init(&options);
    options.MsgId = event_id;
    options.MaxWait = ACK_WAIT_MS;
    s = js == NULL ? NATS_CONNECTION_CLOSED : natsMsg_Create(&msg, subject, NULL, ev->payload.ptr, (int)ev->payload.len);
    if (s == NATS_OK) s = js_PublishMsgAsync(js, &msg, &options);
    failpoint("relay.published");
    natsMsg_Destroy(msg);                /* NULL once the library has it */
    free(subject);
    if (s != NATS_OK) answer_put(r, event_id, false);
}

static natsStatus make_stream(relay *r, jsCtx *js)
{
    const char *subjects[] = { "interop.>" };
    jsStreamInfo *info = NULL;
    jsStreamConfig wanted;
    natsStatus s = js_GetStreamInfo(&info, js, STREAM, NULL, NULL);

    jsStreamInfo_Destroy(info);
    if (s != NATS_NOT_FOUND) return s;
    (void)jsStreamConfig_Init(&wanted);
    wanted.Name = STREAM;
    wanted.Subjects = subjects;
    wanted.SubjectsLen = 1;
    wanted.Storage = js_FileStorage;
    wanted.MaxAge = r->window_hours * 3600 * 1000000000LL;
    wanted.Duplicates = DEDUPLICATE_S * 1000000000LL;
    return js_AddStream(NULL, js, &wanted, NULL, NULL);
}

static void on_gone(natsConnection *nc, void *arg) { (void)nc; atomic_store(&((relay *)arg)->connected, false); }
static void on_back(natsConnection *nc, void *arg) { (void)nc; atomic_store(&((relay *)arg)->connected, true); }

static natsStatus connect_once(relay *r, natsConnection **nc, jsCtx **js)
{
    natsOptions *options = NULL;
    jsOptions js_options;
    natsStatus s = natsOptions_Create(&options);

    (void)jsOptions_Init(&js_options);
    js_options.PublishAsync.MaxPending = BATCH * 2;      /* never stalls: a batch is smaller */
    js_options.PublishAsync.AckHandler = on_broker_answer;
    js_options.PublishAsync.AckHandlerClosure = r;
    if (s == NATS_OK) s = natsOptions_SetURL(options, r->url);
    if (s == NATS_OK) s = natsOptions_SetName(options, "interop relay");
    if (s == NATS_OK) s = natsOptions_SetMaxReconnect(options, -1);
    if (s == NATS_OK) s = natsOptions_SetReconnectWait(options, REST_MS);
    if (s == NATS_OK) s = natsOptions_SetDisconnectedCB(options, on_gone, r);
    if (s == NATS_OK) s = natsOptions_SetReconnectedCB(options, on_back, r);
    if (s == NATS_OK) s = natsConnection_Connect(nc, options);
    if (s == NATS_OK) s = natsConnection_JetStream(js, *nc, &js_options);
    if (s == NATS_OK) s = make_stream(r, *js);
    natsOptions_Destroy(options);
    return s;
}

static void drop(natsConnection **nc, jsCtx **js)
{
    jsCtx_Destroy(*js);
    natsConnection_Destroy(*nc);
    *js = NULL;
    *nc = NULL;
}

static void *relay_main(void *arg)
{
    relay *r = arg;
    natsConnection *nc = NULL;
    jsCtx *js = NULL;
    natsStatus told = NATS_OK;

    while (!atomic_load(&r->closing)) {
        natsStatus s = connect_once(r, &nc, &js);
        if (s == NATS_OK) break;
        if (s != told) {
            err_info why;
            (void)err_set(&why, ERR_NET, "%s", natsStatus_GetText(s));
            log_line(LOG_WARN, "relay.broker_unavailable", log_why(&why), log_word("then", "tried again until it answers"));
        }
        told = s;
        drop(&nc, &js);
        for (int i = 0; i < REST_MS / 50 && !atomic_load(&r->closing); i++) nats_Sleep(50);
    }
    if (js != NULL) {
        atomic_store(&r->connected, true);
        log_line(LOG_INFO, "relay.connected");
        (void)uv_async_send(&r->answered);
    }
    for (list *l; (l = queue_wait(&r->to_broker)) != NULL;) {
        if (js != NULL && atomic_exchange(&r->check_stream, false)) (void)make_stream(r, js);
        publish(r, js, container_of(l, event, link));
        (void)atomic_fetch_add(&r->taken, 1);
    }
    drop(&nc, &js);
    (void)nats_CloseAndWait(CLOSE_MS);   /* its threads still call on_broker_answer until they end */
    atomic_store(&r->ended, true);
    (void)uv_async_send(&r->answered);
    return NULL;
}

/* ---- the loop ------------------------------------------------------------------------------ */

static void relay_read(relay *r);
static void relay_end(relay *r);
static void on_timer(uv_timer_t *t);

static void relay_rest(relay *r, uint64_t ms)
{
    map_free(&r->with_broker);
    arena_reset(&r->mem);
    r->state = RELAY_IDLE;
    uv_timer_start(&r->timer, on_timer, ms, 0);
}

/* It is tried again and again; a lost connection is told by others. */
static void tell(relay *r, err e, const err_info *why)
{
    enum { TELL_AGAIN_MS = 10000 };

    if (e != ERR_STORE || (r->told_ns != 0 && clock_ns() - r->told_ns < TELL_AGAIN_MS * 1000000ull)) return;
    r->told_ns = clock_ns();
    log_line(LOG_WARN, "relay.waits", log_why(why), log_word("then", "tried again until it succeeds"));
}

static void on_marked(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    relay *r = arg;

    (void)results; (void)count; (void)sqlstate;
    failpoint("relay.marked");
    if (r->state == RELAY_CLOSED) return;
    tell(r, e, why);
    /* Only the next event of each aggregate was read: there may be more of them. */
    relay_rest(r, e != ERR_OK || r->any_failed ? REST_MS : 0);
}

static void relay_mark(relay *r)
{
    slice *ids = arena_array(&r->mem, slice, r->count);
    size_t n = 0;

    failpoint("relay.before_mark");
    r->state = RELAY_MARKING;
    for (size_t i = 0; i < r->count; i++)
        if (r->events[i]->acked) ids[n++] = r->events[i]->event_id;
    r->published += (int64_t)n;
    if (n == 0) relay_rest(r, REST_MS);
    else feed_published(r->feed, ids, n, on_marked, r);
}

static void event_send(relay *r, event *ev)
{
    r->handed_ns = clock_ns();
    r->handed++;
    map_add(&r->with_broker, &ev->node, hash_bytes(ev->event_id));
    (void)queue_put(&r->to_broker, &ev->link);
}

static bool same_event(const map_node *node, const void *key)
{
    const event *ev = (const event *)(const void *)((const char *)node - offsetof(event, node));
    return slice_is(ev->event_id, key);
}

static void event_answered(relay *r, const broker_answer *a)
{
    map_node *node = map_find(&r->with_broker, hash_bytes(slice_of(a->event_id)), same_event, a->event_id);
    event *ev;

    if (node == NULL) return;            /* of an earlier batch, answered late */
    ev = container_of(node, event, node);
    map_remove(&r->with_broker, node);
    ev->acked = a->acked;
    r->left--;
    if (a->acked && ev->next != NULL) {
        event_send(r, ev->next);
    } else if (!a->acked) {              /* what follows of this aggregate waits with it */
        r->any_failed = true;
        for (ev = ev->next; ev != NULL; ev = ev->next) r->left--;
    }
}

static void on_answered(uv_async_t *h)
{
    relay *r = container_of(h, relay, answered);
    list got;

    list_init(&got);
    queue_drain(&r->answers, &got);
    for (list *l; (l = list_pop(&got)) != NULL;) {
        broker_answer *a = container_of(l, broker_answer, link);
        if (r->state == RELAY_PUBLISHING) event_answered(r, a);
        free(a);
    }
    if (r->state == RELAY_CLOSED && atomic_load(&r->ended)) relay_end(r);
    else if (r->state == RELAY_PUBLISHING && r->left == 0) relay_mark(r);
    else if (r->state == RELAY_IDLE && atomic_load(&r->connected) && r->slice_count > 0) relay_read(r);
}

static int by_aggregate(const void *left, const void *right)
{
    const event *a = *(event *const *)left, *b = *(event *const *)right;
    int order = slice_cmp(a->aggregate, b->aggregate);

    return order != 0 ? order : (a->seq > b->seq) - (a->seq < b->seq);
}

static void relay_publish(relay *r)
{
    r->state = RELAY_PUBLISHING;
    r->any_failed = false;
    r->left = r->count;
    if (r->count > 0) qsort(r->events, r->count, sizeof(event *), by_aggregate);
    for (size_t i = 0; i + 1 < r->count; i++)
        if (slice_eq(r->events[i]->aggregate, r->events[i + 1]->aggregate)) r->events[i]->next = r->events[i + 1];
    for (size_t i = 0; i < r->count; i++)
        if (i == 0 || r->events[i - 1]->next == NULL) event_send(r, r->events[i]);
    if (r->count == 0) relay_mark(r);
    else uv_timer_start(&r->timer, on_timer, GIVE_UP_MS, 0);
}

/* No answer comes any more (the library has none for a message that it lost with its connection): the
 * rest of the batch is read again, and the broker knows by the id what it has. */
static void relay_give_up(relay *r)
{
    if (clock_ns() - r->handed_ns < GIVE_UP_MS * 1000000ull || atomic_load(&r->taken) != r->handed) {
        uv_timer_start(&r->timer, on_timer, GIVE_UP_MS, 0);
        return;
    }
    log_line(LOG_WARN, "relay.unanswered", log_int("events", (int64_t)r->left));
    r->any_failed = true;
    r->left = 0;
    map_free(&r->with_broker);
    relay_mark(r);
}

static void on_rows(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    relay *r = arg;

    (void)count; (void)sqlstate;
    if (r->state == RELAY_CLOSED) return;
    tell(r, e, why);
    for (int i = 0; e == ERR_OK && i < pg_rows(&results[1]); i++) {
        event *ev = arena_new(&r->mem, event);
        ev->event_id = arena_dup(&r->mem, pg_cell(&results[1], i, EVENT_ID));
        ev->subject = arena_dup(&r->mem, pg_cell(&results[1], i, EVENT_SUBJECT));
        ev->payload = arena_dup(&r->mem, pg_cell(&results[1], i, EVENT_PAYLOAD));
        ev->aggregate = arena_dup(&r->mem, pg_cell(&results[1], i, EVENT_AGGREGATE));
        ev->seq = pg_cell_int(&results[1], i, EVENT_SEQ);
        list_init(&ev->link);
        r->events[r->count++] = ev;
    }
    if (--r->reads == 0) relay_publish(r);
}

static int by_tenant(const void *left, const void *right)
{
    const slice *a = left, *b = right;
    return slice_cmp(a[0], b[0]);
}

static void on_pending(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    relay *r = arg;
    size_t rows, from = 0;
    slice (*row)[2];
    slice *ids;

    (void)count; (void)sqlstate;
    if (r->state == RELAY_CLOSED) return;
    tell(r, e, why);
    if (e != ERR_OK) { relay_rest(r, REST_MS); return; }
    rows = (size_t)pg_rows(&results[0]);
    if (rows == 0) { relay_rest(r, r->woken ? 0 : POLL_MS); return; }
    row = arena_alloc(&r->mem, sizeof *row * rows);
    ids = arena_array(&r->mem, slice, rows);
    for (size_t i = 0; i < rows; i++) {
        row[i][0] = arena_dup(&r->mem, pg_cell(&results[0], (int)i, 0));
        row[i][1] = arena_dup(&r->mem, pg_cell(&results[0], (int)i, 1));
    }
    qsort(row, rows, sizeof *row, by_tenant);
    for (size_t i = 0; i < rows; i++) ids[i] = row[i][1];
    r->events = arena_array(&r->mem, event *, rows);
    r->count = 0;
    r->reads = 1;
    for (size_t i = 1; i <= rows; i++) {
        if (i < rows && slice_eq(row[i][0], row[from][0])) continue;
        r->reads++;
        feed_events(r->feed, row[from][0], ids + from, i - from, on_rows, r);
        from = i;
    }
    r->reads--;
}

static void relay_read(relay *r)
{
    r->woken = false;
    r->state = RELAY_READING;
    feed_pending_events(r->feed, BATCH, r->slices, r->slice_count, on_pending, r);
}

void relay_share(relay *r, const int *slices, int count)
{
    bool more = count > r->slice_count;

    r->slice_count = count;
    if (count > 0) memcpy(r->slices, slices, (size_t)r->slice_count * sizeof *slices);
    if (more) relay_wake(r);
}

static void on_timer(uv_timer_t *t)
{
    relay *r = container_of(t, relay, timer);

    if (r->state == RELAY_PUBLISHING) { relay_give_up(r); return; }
    if (r->state != RELAY_IDLE) return;
    if (atomic_load(&r->connected) && r->slice_count > 0) relay_read(r);
    else uv_timer_start(&r->timer, on_timer, POLL_MS, 0);
}

/* While a batch is under way the wake is kept; when idle it waits a little, so that
 * what commits together is read together. */
void relay_wake(relay *r)
{
    enum { GATHER_MS = 5 };

    if (r->woken) return;
    r->woken = true;
    if (r->state == RELAY_IDLE) uv_timer_start(&r->timer, on_timer, GATHER_MS, 0);
}

bool relay_connected(const relay *r) { return atomic_load(&r->connected); }
int64_t relay_published(const relay *r) { return r->published; }
int64_t relay_behind(const relay *r) { return (int64_t)r->left; }

relay *relay_open(uv_loop_t *loop, pg *feed, const char *nats_url, int64_t window_hours)
{
    relay *r = mem_zalloc(sizeof *r);

    r->loop = loop;
    r->feed = feed;
    r->url = mem_dup(slice_of(nats_url));
    r->window_hours = window_hours;
    queue_init(&r->to_broker);
    queue_init(&r->answers);
    if (uv_async_init(loop, &r->answered, on_answered) != 0 || uv_timer_init(loop, &r->timer) != 0 ||
        pthread_create(&r->thread, NULL, relay_main, r) != 0) die("relay_open failed");
    uv_timer_start(&r->timer, on_timer, POLL_MS, 0);
    return r;
}

static void on_handle_closed(uv_handle_t *h)
{
    relay *r = h->data;
    void (*closed)(void *) = r->closed;
    void *arg = r->closed_arg;
    list left;

    if (--r->handles > 0) return;
    list_init(&left);
    queue_drain(&r->answers, &left);
    for (list *l; (l = list_pop(&left)) != NULL;) free(container_of(l, broker_answer, link));
    queue_fini(&r->answers);
    queue_fini(&r->to_broker);
    map_free(&r->with_broker);
    arena_free(&r->mem);
    free(r->url);
    free(r);
    closed(arg);
}

/* The thread may be within a call that waits for the broker: it says itself when it has ended. */
void relay_close(relay *r, void (*done)(void *arg), void *arg)
{
    r->state = RELAY_CLOSED;
    r->closed = done;
    r->closed_arg = arg;
    atomic_store(&r->closing, true);
    queue_close(&r->to_broker);
}

static void relay_end(relay *r)
{
    (void)pthread_join(r->thread, NULL);
    r->handles = 2;
    r->answered.data = r;
    r->timer.data = r;
    uv_close((uv_handle_t *)&r->answered, on_handle_closed);
    uv_close((uv_handle_t *)&r->timer, on_handle_closed);
}

/* api/events.c -- /v1/events: what the relay publishes, as server-sent events.
 *
 * The id of each is the event's own, so that a client that comes back with
 * Last-Event-ID goes on where it was, without a gap; one that names no event of the
 * tenant (any more) is answered with 410. Without one the stream begins with what
 * happens next. One read of the outbox is under way for each stream. */
#include <stdlib.h>

#include "api/inside.h"
#include "base/log.h"
#include "store/feed.h"

enum { READ_AT_ONCE = 500, MOST_STREAMS = 200, HIGH_WATER = 64 << 10 };  /* where http_stream_begin's on_room begins */

typedef struct events_stream {
    list          link;
    api          *a;
    http_request *r;                     /* NULL once it has ended */
    char         *tenant;
    char          after[64];             /* the last event that was sent; "" before the first */
    bool          streaming;             /* else the request waits for an answer */
    bool          reading, again, begun;
} events_stream;

static void stream_read(events_stream *s);
static void look_up_last(events_stream *s);

static void stream_free(events_stream *s)
{
    list_remove(&s->link);
    free(s->tenant);
    free(s);
}

/* While a read is under way it lives on, out of the list: the API may be gone before the answer comes. */
static void stream_end(events_stream *s)
{
    if (s->r != NULL && s->streaming) http_stream_end(s->r);
    else if (s->r != NULL) api_problem(s->r, 503, "Service Unavailable", "the engine stops");
    s->r = NULL;
    list_remove(&s->link);
    if (!s->reading) stream_free(s);
}

/* From here on a client misses nothing: where the stream begins is known. */
static void say_begun(events_stream *s) { http_stream_write(s->r, slice_lit(": interop\n\n")); }

static void send_event(events_stream *s, const pg_result *rows, int i)
{
    buf b = buf_in(NULL);
    slice event_id = pg_cell(rows, i, EVENT_ID), subject = pg_cell(rows, i, EVENT_SUBJECT), payload = pg_cell(rows, i, EVENT_PAYLOAD);

    /* JSONB's text has no line breaks, and a subject's tokens are escaped. */
    buf_printf(&b, "id: %.*s\nevent: %.*s\ndata: ", (int)event_id.len, event_id.ptr, (int)subject.len, subject.ptr);
    buf_put(&b, payload);
    buf_puts(&b, "\n\n");
    http_stream_write(s->r, buf_slice(&b));
    buf_free(&b);
    (void)slice_cstr(event_id, s->after, sizeof s->after);
}

static void on_rows(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    events_stream *s = arg;
    int rows;

    (void)count; (void)sqlstate;
    s->reading = false;
    if (s->r == NULL || e == ERR_CLOSED) { stream_end(s); return; }
    if (e == ERR_STORE_LOST) { stream_read(s); return; } /* waits for the connection */
    if (e != ERR_OK) {                                   /* the next event or beat tries again */
        log_line(LOG_WARN, "events.not_read", log_why(why));
        return;
    }
    rows = pg_rows(&results[1]);
    if (!s->begun) {                     /* the newest one: what follows is new */
        s->begun = true;
        (void)slice_cstr(rows > 0 ? pg_cell(&results[1], 0, EVENT_ID) : slice_lit(FEED_STREAM_START), s->after, sizeof s->after);
        say_begun(s);
        if (s->again) stream_read(s);
        return;
    }
    for (int i = 0; i < rows; i++) send_event(s, &results[1], i);
    if (rows == READ_AT_ONCE || s->again) stream_read(s);
}

static void stream_read(events_stream *s)
{
    if (s->reading || s->r == NULL || !s->streaming) { s->again = true; return; }
    if (http_stream_pending(s->r) >= HIGH_WATER) { s->again = true; return; }    /* on_room goes on */
    s->reading = true;
    s->again = false;
    feed_stream(engine_feed(s->a->e), slice_of(s->tenant), slice_of(s->after), READ_AT_ONCE, on_rows, s);
}

static void on_room(void *arg)
{
    events_stream *s = arg;
    if (s->again) stream_read(s);
}

static void on_gone(void *arg) { stream_end(arg); }

static void begin_stream(events_stream *s)
{
    http_reply_header(s->r, "Cache-Control", slice_lit("no-store"));
    s->streaming = true;
    http_stream_begin(s->r, 200, "text/event-stream", on_room, on_gone, s);
    if (s->begun) say_begun(s);
    s->again = true;
    stream_read(s);
}

static void on_known(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    events_stream *s = arg;

    (void)count; (void)sqlstate;
    s->reading = false;
    if (s->r == NULL) { stream_end(s); return; }
    if (e == ERR_STORE_LOST) { look_up_last(s); return; }       /* waits for the connection */
    if (e == ERR_OK && pg_rows(&results[1]) == 1) { begin_stream(s); return; }
    if (e == ERR_OK)
        api_problem(s->r, 410, "Gone", "Last-Event-ID names no event of this tenant, or one that is no longer kept: begin without it");
    else
        api_problem(s->r, 503, "Service Unavailable", "the event of Last-Event-ID could not be looked up");
    if (e != ERR_OK && e != ERR_CLOSED) log_line(LOG_WARN, "events.not_read", log_why(why));
    s->r = NULL;
    stream_end(s);
}

/* Is there the event that the client saw last? */
static void look_up_last(events_stream *s)
{
    s->reading = true;
    feed_stream_has(engine_feed(s->a->e), slice_of(s->tenant), slice_of(s->after), on_known, s);
}

void events_serve(api *a, http_request *r)
{
    slice tenant = http_param(http_arena(r), http_query(r), "tenant"), last = http_header(r, "last-event-id");
    events_stream *s;
    size_t open = 0;

    list_each(l, &a->streams) open++;
    if (open >= MOST_STREAMS) { api_problem(r, 503, "Service Unavailable", "too many event streams are open"); return; }
    if (tenant.len == 0) { api_problem(r, 400, "Bad Request", "name the tenant: /v1/events?tenant=…"); return; }
    if (last.len >= sizeof s->after) { api_problem(r, 400, "Bad Request", "Last-Event-ID is no id of an event"); return; }
    if (slice_is(http_method(r), "HEAD")) { http_reply(r, 200, "text/event-stream", SLICE_NONE); return; }
    s = mem_zalloc(sizeof *s);
    s->a = a;
    s->r = r;
    s->tenant = mem_dup(tenant);
    s->begun = last.len > 0;
    (void)slice_cstr(last, s->after, sizeof s->after);
    list_push(&a->streams, &s->link);
    if (last.len > 0) look_up_last(s);
    else begin_stream(s);
}

void events_wake(void *arg)
{
    api *a = arg;
    list_each_safe(l, &a->streams) stream_read(container_of(l, events_stream, link));
}

/* Each beat reads, for what was committed beside an older transaction that was still open was not shown
 * when it was told of; now and then a comment lets a dead peer be noticed. */
void events_beat(api *a)
{
    enum { COMMENT_EVERY = 15 };
    bool comment = ++a->beats % COMMENT_EVERY == 0;

    list_each_safe(l, &a->streams) {
        events_stream *s = container_of(l, events_stream, link);
        if (s->r == NULL || !s->streaming) continue;
        if (comment && http_stream_pending(s->r) == 0) http_stream_write(s->r, slice_lit(": still here\n\n"));
        stream_read(s);
    }
}

void events_end(api *a)
{
    list_each_safe(l, &a->streams) stream_end(container_of(l, events_stream, link));
}

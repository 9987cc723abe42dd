/* engine/intake.c -- from a frame to a stored message and its answer.
 *
 * A frame is one message or a batch of them. Each becomes a job; what cannot be a message
 * goes to quarantine. The frame is answered when each of its parts is committed, one
 * way or the other: an acknowledgement never runs ahead of the disk (promise P1).
 *
 * A batch is taken as the database takes it: its bytes are kept, and a number of its parts is
 * under way. What its connection sends meanwhile waits behind it, so that order holds (P2). */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/answer.h"
#include "engine/inside.h"
#include "hl7/batch.h"
#include "hl7/text.h"

/* Of a batch: parts and bytes that are on their way to the database at once. */
enum { BATCH_PARTS = 1000, BATCH_BYTES = 4 << 20 };

typedef struct parcel_part { buf answer; size_t size; } parcel_part;

/* The parts of one frame, or of one release from quarantine. */
typedef struct parcel {
    connector    *conn;
    mllp_ticket  *ticket;                /* NULL: a release */
    list          link;                  /* in e->batches, while `open` */
    size_t        waiting;               /* parts that have no answer yet; one more while `open` */
    size_t        count, room;
    parcel_part  *parts;
    size_t        put;                   /* acknowledgements in them */
    bool          wrapped;               /* in FHS or BHS: so is the answer */
    bool          lost;                  /* not all of it will be stored: no answer, the sender sends it again */
    bool          several, open, taking; /* a batch; not all of it is taken; it is being taken from */
    hl7_batch     rest;                  /* what is not taken of `bytes` */
    char         *bytes;
    size_t        size;
    size_t        storing, storing_bytes;
    list          behind;                /* late_frame */
    uint64_t      read_ns;
    uint64_t      connection;
    slice         peer;
    void        (*released)(void *arg, const id *message_id, const err_info *why);
    void         *arg;
    id            first;                 /* a release: the message that it became */
    err_info      why;
} parcel;

/* A frame that waits for a batch before it. */
typedef struct late_frame {
    list         link;
    mllp_ticket *ticket;
    mllp_flaw    flaw;
    size_t       len;
    char         bytes[];
} late_frame;

/* A part that goes to quarantine. */
typedef struct part {
    list     link;                       /* in e->unkept, while it waits to be put again */
    parcel  *of;
    size_t   index;
    arena    mem;
    slice    bytes;
    hl7_head head;
    answer   say;
    const char *reason;
    char     text[sizeof ((err_info *)0)->text];
} part;

#define NEXT_FRAME slice_lit("\x1c\r\x0b")        /* the frame ends, the next begins */

/* Between two messages of the answer: those of a batch are in one frame. */
static slice parcel_between(const parcel *p) { return p->wrapped ? SLICE_NONE : NEXT_FRAME; }

static void parcel_finish(parcel *p)
{
    buf all = buf_in(NULL);

    if (p->ticket == NULL) {
        p->released(p->arg, p->lost || p->first.text[0] == '\0' ? NULL : &p->first, &p->why);
    } else {
        if (p->wrapped && p->put > 0) buf_puts(&all, "BHS|^~\\&\r");
        for (size_t i = 0; i < p->count; i++) {
            if (all.len > 0 && p->parts[i].answer.len > 0) buf_put(&all, parcel_between(p));
            buf_put(&all, buf_slice(&p->parts[i].answer));
        }
        if (p->wrapped && p->put > 0) buf_printf(&all, "BTS|%zu\r", p->put);
        metric_observe(p->conn->count.ack_seconds, (double)(clock_ns() - p->read_ns) / 1e9);
        failpoint("intake.before_ack");
        mllp_answer(p->ticket, p->lost ? SLICE_NONE : buf_slice(&all), p->lost);
        failpoint("intake.acked");
    }
    for (size_t i = 0; i < p->count; i++) buf_free(&p->parts[i].answer);
    free(p->parts);
    buf_free(&all);
    free(p);
}

static void batch_take(parcel *p);

/* It is in the database, or never will be: of a batch the next may come. */
static void part_settled(parcel *p, size_t index)
{
    p->storing--;
    p->storing_bytes -= p->parts[index].size;
    if (p->open) batch_take(p);
}

static void part_done(parcel *p)
{
    if (--p->waiting == 0) parcel_finish(p);
}

static void part_answer(parcel *p, size_t index, const hl7_head *about, const answer *say)
{
    p->put += answer_write(&p->parts[index].answer, parcel_between(p), p->conn->settings.mode, about, say);
    part_settled(p, index);
    part_done(p);
}

/* ---- answers that wait ------------------------------------------------------------------- */

/* The acknowledgement of a part that is stored waits for what becomes of the message. */
typedef struct late {
    waiter   wait;
    parcel  *of;
    size_t   index;
    arena    mem;                        /* of the header */
    hl7_head head;
} late;

static void on_became(waiter *w, became what)
{
    static const char *const texts[] = {
        [BECAME_FAILED] = "stored, and it failed: it is kept and tried again",
        [BECAME_HELD] = "stored, and an earlier message of the same key failed: it is kept and follows that one",
        [BECAME_DEAD] = "stored, and it failed: it is kept and not tried again until somebody does",
        [BECAME_LATE] = "stored, and not there yet: it is kept and worked on",
    };
    late *l = container_of(w, late, wait);
    parcel *p = l->of;
    bool good = what == BECAME_MAPPED || what == BECAME_DONE;
    answer say = { .kind = good ? ANSWER_POSITIVE : ANSWER_ERROR, .error = HL7_ERROR_INTERNAL };

    if (!good) say.text = slice_of(texts[what]);
    p->put += answer_application(&p->parts[l->index].answer, parcel_between(p), p->conn->settings.mode, &l->head, &say);
    arena_free(&l->mem);
    free(l);
    part_done(p);
}

static slice first_segment(slice bytes)
{
    size_t n = 0;

    while (n < bytes.len && bytes.ptr[n] != '\r' && bytes.ptr[n] != '\n') n++;
    return (slice){ bytes.ptr, n };
}

static bool is_failed(const char *status) { return strcmp(status, "failed") == 0 || strcmp(status, "dead_lettered") == 0; }

/* A message is in the database, with this status. Positive at once, or when it is what the connector promises. */
static void part_stored(parcel *p, size_t index, const job *j, const id *message_id, const char *status)
{
    static const answer good = { .kind = ANSWER_POSITIVE };
    const connector_settings *s = &p->conn->settings;
    late *l;

    if (s->level == ACK_LEVEL_STORED || p->ticket == NULL || strcmp(status, "processed") == 0 || !answer_waits(s->mode, &j->sent)) {
        part_answer(p, index, &j->sent, &good);
        return;
    }
    p->put += answer_accept(&p->parts[index].answer, s->mode, &j->sent);
    if (!p->several && p->parts[index].answer.len > 0) { /* of a batch it leaves with the rest */
        mllp_answer_part(p->ticket, buf_slice(&p->parts[index].answer));
        buf_clear(&p->parts[index].answer);
    }
    l = mem_zalloc(sizeof *l);
    l->of = p;
    l->index = index;
    if (!hl7_head_guess(arena_dup(&l->mem, first_segment(j->bytes)), &l->head)) die("intake: a stored message without a header");
    l->wait = (waiter){ .conn = p->conn, .message_id = *message_id, .level = s->level, .done = on_became };
    part_settled(p, index);
    waiters_add(p->conn->e->waiters, &l->wait, is_failed(status));
}

/* ---- quarantine ------------------------------------------------------------------------ */

static void part_end(part *q, bool kept)
{
    parcel *p = q->of;

    metric_add(kept ? p->conn->count.quarantined : p->conn->count.refused, 1);
    p->conn->e->storing -= q->mem.held;
    if (!p->lost) (void)err_set(&p->why, ERR_REFUSED, "%s", q->text);
    part_answer(p, q->index, &q->head, &q->say);
    arena_free(&q->mem);
    free(q);
}

static void on_quarantined(void *arg, err e, bool kept, const err_info *why)
{
    part *q = arg;
    const parcel *p = q->of;
    engine *eng = p->conn->e;

    if (e == ERR_STORE_LOST) {           /* perhaps it was: then the row counts one more */
        list_push(&eng->unkept, &q->link);
        return;
    }
    if (e != ERR_OK && e != ERR_CLOSED)
        log_line(LOG_ERROR, "quarantine.not_kept", log_id("connectorId", id_slice(&p->conn->connector_id)), log_why(why));
    else if (!kept && e == ERR_OK)
        log_line(LOG_WARN, "quarantine.full", log_id("connectorId", id_slice(&p->conn->connector_id)));
    part_end(q, kept);
    engine_told(eng);
    engine_balance(eng);
}

static void part_quarantine(part *q, const char *reason)
{
    const connector *c = q->of->conn;
    quarantine_row row = {
        .tenant = c->tenant, .connector_id = id_slice(&c->connector_id), .reason = reason, .detail = q->text,
        .bytes = q->bytes, .peer = q->of->peer,
        .most_rows = c->settings.quarantine_rows, .most_bytes = c->settings.quarantine_bytes,
    };

    q->reason = reason;
    quarantine_put(c->e->feed, &row, on_quarantined, q);
}

void intake_again(engine *e)
{
    list waiting;

    list_init(&waiting);
    list_splice(&waiting, &e->unkept);
    for (list *l; (l = list_pop(&waiting)) != NULL;) {
        part *q = container_of(l, part, link);
        part_quarantine(q, q->reason);
    }
}

void intake_give_up(engine *e)
{
    for (list *l; (l = list_pop(&e->unkept)) != NULL;) part_end(container_of(l, part, link), false);
}

/* Puts a part aside: its bytes are copied, for the job or the frame that holds them goes. */
static void refuse(parcel *p, size_t index, slice bytes, const char *reason, answer say, const char *text)
{
    part *q = mem_zalloc(sizeof *q);

    q->of = p;
    q->index = index;
    q->bytes = arena_dup(&q->mem, bytes);
    p->conn->e->storing += q->mem.held;
    (void)slice_cstr(slice_of(text), q->text, sizeof q->text);
    q->say = say;
    q->say.text = slice_of(q->text);
    if (!hl7_head_guess(q->bytes, &q->head)) q->head = (hl7_head){ 0 };
    part_quarantine(q, reason);
}

/* ---- storing ----------------------------------------------------------------------------- */

struct storing { parcel *of; size_t index; };

static void on_stored(ingest_op *op)
{
    job *j = container_of(op, job, store);
    struct storing *s = j->storing;
    connector *c = j->conn;

    c->e->storing -= j->held;
    switch (op->outcome) {
    case INGEST_STORED:
        metric_add(c->count.stored, 1);
        if (s->of->ticket == NULL && s->of->first.text[0] == '\0') s->of->first = j->message_id;
        part_stored(s->of, s->index, j, &j->message_id, "pending");
        engine_told(c->e);
        j->seq = op->seq;
        if (op->elsewhere) job_end(j);
        else connector_enter(c, j);      /* the job's from here on */
        engine_balance(c->e);
        return;
    case INGEST_REPEAT:
        metric_add(c->count.repeated, 1);
        if (s->of->ticket == NULL) s->of->first = op->found_id;
        part_stored(s->of, s->index, j, &op->found_id, op->found_status);
        if (is_failed(op->found_status))
            flow_try_again(c, &op->found_id);
        /* Committed, and we have not heard of it: what its sender sends next must not come before it. */
        else if (strcmp(op->found_status, "pending") == 0 && job_find(c->e, op->found_id.text) == NULL) {
            if (aside_has(&c->aside, j->keys, j->key_count)) waiters_tell(c->e->waiters, &op->found_id, BECAME_HELD);
            else connector_missed(c, op->seq);
        }
        break;
    case INGEST_REUSED:
        refuse(s->of, s->index, j->bytes, "reused-id",
                   (answer){ .kind = ANSWER_REJECT, .error = HL7_ERROR_DUPLICATE_KEY, .location = slice_lit("MSH-10") },
                   "this control id was used before for a message of other content");
        break;
    case INGEST_REFUSED:
        refuse(s->of, s->index, j->bytes, "refused-by-store",
                   (answer){ .kind = ANSWER_ERROR, .error = HL7_ERROR_INTERNAL },
                   op->why.text);
        break;
    }
    job_end(j);
    engine_balance(c->e);
}

void intake_lost(ingest_op *op)
{
    parcel *p = container_of(op, job, store)->storing->of;

    p->lost = true;
    (void)err_set(&p->why, ERR_CLOSED, "the engine stopped before all of it was stored");
    part_settled(p, container_of(op, job, store)->storing->index);
    part_done(p);
}

static void hash_piece(void *arg, slice piece) { digest_add(arg, piece); }

err job_parse(job *j, err_info *why)
{
    bool exact;
    hl7_msg *raw;
    err e = hl7_parse(&j->mem, j->bytes, &raw, why);

    if (e != ERR_OK) return e;
    hl7_head_read(raw, &j->sent);
    hl7_decode(&j->mem, j->bytes, j->sent.charset, j->sent.delims.repetition, &j->text, &exact);
    j->raw = j->msg = raw;
    j->exact = exact;
    if (!exact) {
        e = hl7_parse(&j->mem, j->text, &raw, why);
        j->msg = e == ERR_OK ? raw : NULL;
        if (e != ERR_OK) return e;
    }
    hl7_head_read(j->msg, &j->head);
    return ERR_OK;
}

static bool type_is_taken(const connector *c, slice type)
{
    for (size_t i = 0; i < c->type_count; i++)
        if (hl7_type_matches(c->types[i], type)) return true;
    return c->type_count == 0;
}

static slice or_none(slice s) { return s.len == 0 ? SLICE_NONE : s; }

/* What a header must have before the message can have a row. */
static const char *head_wrong(const connector *c, const hl7_head *h, slice type, answer *say, const char **text)
{
    say->kind = ANSWER_REJECT;
    if (h->control_id.len == 0 || hl7_is_null(h->control_id)) {
        say->error = HL7_ERROR_FIELD_MISSING;
        say->location = slice_lit("MSH-10");
        *text = "MSH-10 (message control id) is empty";
        return "no-control-id";
    }
    if (h->type.len == 0 || hl7_is_null(h->type)) {
        say->error = HL7_ERROR_FIELD_MISSING;
        say->location = slice_lit("MSH-9");
        *text = "MSH-9 (message type) is empty";
        return "no-type";
    }
    if (!type_is_taken(c, type)) {
        say->error = HL7_ERROR_TYPE;
        say->location = slice_lit("MSH-9");
        *text = "this connector does not take messages of this type";
        return "type-not-taken";
    }
    return NULL;
}

static void take_message(parcel *p, size_t index, slice bytes)
{
    connector *c = p->conn;
    job *j = job_new(c);
    answer say = { 0 };
    const char *reason, *text = NULL;
    err_info why;
    slice type;

    j->bytes = arena_dup(&j->mem, bytes);
    if (job_parse(j, &why) != ERR_OK) {
        refuse(p, index, bytes, "bad-message", (answer){ .kind = ANSWER_REJECT, .error = HL7_ERROR_SEQUENCE }, why.text);
        job_end(j);
        return;
    }
    type = hl7_head_type(&j->mem, &j->head);
    reason = head_wrong(c, &j->head, type, &say, &text);
    if (reason != NULL) {
        refuse(p, index, bytes, reason, say, text);
        job_end(j);
        return;
    }
    j->key_count = hl7_keys(&j->mem, j->msg, c->settings.key_paths, c->settings.key_path_count, j->keys);
    digest_reset(c->e->hash);
    hl7_stable_bytes(j->raw, hash_piece, c->e->hash);    /* what decodes alike need not be alike */
    j->received_us = clock_real_us();
    j->read_ns = p->read_ns;
    j->message_id = id_new(ID_MESSAGE);
    j->storing = arena_new(&j->mem, struct storing);
    j->storing->of = p;
    j->storing->index = index;
    j->store = (ingest_op){
        .message_id = j->message_id, .tenant = c->tenant, .connector_id = id_slice(&c->connector_id),
        .type = type, .control_id = j->head.control_id,
        .sending_app = or_none(j->head.sending_app), .sending_facility = or_none(j->head.sending_facility),
        .receiving_app = or_none(j->head.receiving_app),
        .text = j->text, .bytes = j->exact ? SLICE_NONE : j->bytes,
        .hash = digest_value(c->e->hash), .keys = j->keys, .key_count = j->key_count,
        .received_us = j->received_us, .connection = p->connection,
        .accept_reused = c->settings.accept_reused_ids, .done = on_stored,
    };
    job_weigh(j);
    c->e->storing += j->held;
    ingest_put(c->e->in, &j->store);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static parcel *parcel_new(connector *c)
{
    parcel *p = mem_zalloc(sizeof *p);

    p->conn = c;
    p->read_ns = clock_ns();
    list_init(&p->behind);
    return p;
}

/* The next part: its index. */
static size_t part_new(parcel *p, slice bytes)
{
    if (p->count == p->room) {
        p->room = p->several ? p->room * 2 + 16 : 1;
        p->parts = mem_realloc(p->parts, p->room * sizeof *p->parts);
    }
    p->parts[p->count] = (parcel_part){ .answer = buf_in(NULL), .size = bytes.len };
    p->waiting++;
    p->storing++;
    p->storing_bytes += bytes.len;
    return p->count++;
}

static void take_frame(connector *c, mllp_ticket *ticket, mllp_flaw flaw, slice bytes);

static parcel *batch_ahead(const engine *e, uint64_t connection)
{
    list_each(l, &e->batches) {
        parcel *p = container_of(l, parcel, link);
        if (p->ticket != NULL && p->connection == connection) return p;
    }
    return NULL;
}

/* What waited behind a batch goes on, up to the next batch among it, behind which the rest waits. */
static void follow(parcel *p)
{
    connector *c = p->conn;

    for (list *l; (l = list_pop(&p->behind)) != NULL;) {
        late_frame *f = container_of(l, late_frame, link);
        parcel *next = batch_ahead(c->e, p->connection);
        if (next != NULL) {              /* the frame before this one */
            list_push(&next->behind, l);
            continue;
        }
        c->e->storing -= f->len;
        if (p->lost) mllp_answer(f->ticket, SLICE_NONE, true);
        else take_frame(c, f->ticket, f->flaw, (slice){ f->bytes, f->len });
        free(f);
    }
}

/* All of it is taken, or no more of it will be. Its answer is the last that it does: others of its
 * connection come in with that. */
static void batch_end(parcel *p)
{
    p->open = false;
    list_remove(&p->link);
    p->conn->e->storing -= p->size;
    free(p->bytes);
    if (p->lost && p->ticket != NULL) mllp_give_up(p->ticket);
    follow(p);
    part_done(p);
}

/* What is released from quarantine nobody sends again: all of it goes at once, and a stop waits for it. */
static bool window_is_open(const parcel *p)
{
    return p->ticket == NULL || (p->storing < BATCH_PARTS && p->storing_bytes < BATCH_BYTES);
}

static void batch_take(parcel *p)
{
    static const answer stray_answer = { .kind = ANSWER_REJECT, .error = HL7_ERROR_SEQUENCE };
    slice message, stray;
    size_t at;
    bool more = true;

    if (p->taking) return;               /* a part that is settled at once: none is today */
    p->taking = true;
    p->lost |= p->ticket != NULL && p->conn->e->closing;
    while (more && !p->lost && (p->storing == 0 || window_is_open(p))) {
        more = hl7_batch_next(&p->rest, &message, &at, &stray);
        if (stray.ptr != NULL)
            refuse(p, part_new(p, stray), stray, "bad-message", stray_answer, "bytes of a batch that belong to no message");
        if (more) take_message(p, part_new(p, message), message);
    }
    if (!more && p->count == 0) {        /* headers and trailers around nothing */
        slice all = { p->bytes, p->size };
        p->wrapped = false;
        take_message(p, part_new(p, all), all);
    }
    p->taking = false;
    if (!more || p->lost) batch_end(p);
}

static void take_bytes(parcel *p, slice bytes)
{
    if (!hl7_batch_is(bytes)) {
        take_message(p, part_new(p, bytes), bytes);
        return;
    }
    p->several = p->open = true;
    p->wrapped = slice_starts(bytes, slice_lit("FHS")) || slice_starts(bytes, slice_lit("BHS"));
    p->waiting = 1;
    p->bytes = mem_dup(bytes);
    p->size = bytes.len;
    p->conn->e->storing += p->size;
    list_push(&p->conn->e->batches, &p->link);
    hl7_batch_open(&p->rest, (slice){ p->bytes, p->size });
    batch_take(p);
}

static void take_frame(connector *c, mllp_ticket *ticket, mllp_flaw flaw, slice bytes)
{
    parcel *p = parcel_new(c);

    p->ticket = ticket;
    p->connection = mllp_ticket_conn(ticket);
    p->peer = mllp_ticket_peer(ticket);
    if (flaw == MLLP_GOOD) {
        take_bytes(p, bytes);
    } else {
        answer say = { .kind = ANSWER_REJECT, .error = flaw == MLLP_TOO_LONG ? HL7_ERROR_VALUE_TOO_LONG : HL7_ERROR_SEQUENCE };
        refuse(p, part_new(p, bytes), bytes, flaw == MLLP_TOO_LONG ? "too-long" : "bad-framing", say, mllp_flaw_text(flaw));
    }
}

static void on_frame(void *arg, mllp_ticket *ticket, mllp_flaw flaw, slice bytes)
{
    connector *c = arg;
    parcel *ahead = batch_ahead(c->e, mllp_ticket_conn(ticket));

    metric_add(c->count.received, 1);
    metric_set(c->count.last_message, clock_real_us() / 1000000);
    if (ahead == NULL) {
        take_frame(c, ticket, flaw, bytes);
    } else {
        late_frame *f = mem_alloc(sizeof *f + bytes.len);
        f->ticket = ticket;
        f->flaw = flaw;
        f->len = bytes.len;
        if (bytes.len > 0) memcpy(f->bytes, bytes.ptr, bytes.len);
        c->e->storing += f->len;
        list_push(&ahead->behind, &f->link);
    }
    engine_balance(c->e);
}

static void on_closed(void *arg, mllp_conn *conn, err e, const err_info *why)
{
    const connector *c = arg;

    (void)conn;
    if (e == ERR_TLS)
        log_line(LOG_WARN, "connector.tls_refused", log_id("connectorId", id_slice(&c->connector_id)), log_why(why));
}

const mllp_server_events intake_events = { .frame = on_frame, .closed = on_closed };

/* ---- release from quarantine ------------------------------------------------------------------ */

void intake_release(connector *c, slice bytes,
                    void (*done)(void *arg, const id *message_id, const err_info *why), void *arg)
{
    parcel *p = parcel_new(c);

    p->released = done;
    p->arg = arg;
    take_bytes(p, bytes);
}

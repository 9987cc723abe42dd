/* engine/reading.c -- room, pages, rows into jobs. */
#include "engine/reading.h"

#include "base/clock.h"
#include "base/log.h"
#include "engine/inside.h"

/* ALWAYS: messages that each connector may hold, whatever they weigh. TRIED: of one reading while it is not
 * known what its messages weigh. */
enum { READ_AT_ONCE = 500, ALWAYS = 8, TRIED = 16, WEIGHT = 8192, SCAN_MOST = 20000 };

static size_t less(size_t all, size_t taken) { return all > taken ? all - taken : 0; }
static size_t smaller(size_t a, size_t b) { return a < b ? a : b; }
static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

/* ---- room ---------------------------------------------------------------------------- */

static size_t weight_of_one(const connector *c) { return larger(c->weight, WEIGHT); }

/* What others leave of the memory is anyone's who does not hold twice as many by now, and as much as half of it
 * besides is shared out among the connectors that run here: a dead target of one must not stop another. */
size_t reading_room(const connector *c)
{
    const engine *e = c->e;
    size_t bytes = (size_t)e->cfg->memory_bytes, messages = (size_t)e->cfg->memory_messages, parts = 2 * larger(e->owned, 1);
    size_t has = c->entered + c->parked_count + c->asked;
    size_t has_bytes = c->held + c->parked_bytes + c->asked_bytes;
    size_t of_all = smaller(less(bytes, e->held + e->asked_bytes) / weight_of_one(c), less(messages, e->job_count + e->asked));
    size_t own = smaller(less(bytes / parts, has_bytes) / weight_of_one(c), less(messages / parts, has));

    if (has > 2 * of_all) of_all = 0;
    return smaller(larger(larger(of_all, own), less(ALWAYS, has)), less((size_t)e->cfg->lane_messages, has));
}

bool connector_has_room(const connector *c) { return reading_room(c) > 0; }

bool reading_is_roomy(const connector *c) { return c->entered <= larger(reading_room(c), ALWAYS); }

bool reading_is_soon(int64_t next_us)
{
    enum { SOON_US = 200000 };
    return next_us <= clock_real_us() + SOON_US;
}

void reading_ask(connector *c, struct page *p, size_t messages)
{
    p->messages = (int)smaller(messages, c->weight == 0 ? TRIED : READ_AT_ONCE);
    p->bytes = (size_t)p->messages * weight_of_one(c);
    p->asked_ns = clock_ns();
    c->asked += (size_t)p->messages;
    c->asked_bytes += p->bytes;
    c->e->asked += (size_t)p->messages;
    c->e->asked_bytes += p->bytes;
}

void reading_answered(connector *c, struct page *p)
{
    c->asked -= (size_t)p->messages;
    c->asked_bytes -= p->bytes;
    c->e->asked -= (size_t)p->messages;
    c->e->asked_bytes -= p->bytes;
    p->bytes = 0;
}

bool reading_may_begin(const connector *c)
{
    return c->prog != NULL && c->routes != NULL && !c->closing && !c->e->closing && c->epoch != 0 && !c->leaving &&
           (slice_is(c->status, "active") || slice_is(c->status, "paused"));
}

bool reading_went_well(const connector *c, err e, const err_info *why)
{
    if (e == ERR_OK) return true;
    if (e != ERR_STORE_LOST)
        log_line(LOG_WARN, "connector.not_fed", log_id("connectorId", id_slice(&c->connector_id)), log_why(why));
    return false;
}

/* ---- rows ---------------------------------------------------------------------------- */

job *reading_job(connector *c, const pg_result *r, int row)
{
    job *j = job_new(c);
    slice bytes = feed_bytes(&j->mem, pg_cell(r, row, MSG_BYTES));

    (void)slice_cstr(pg_cell(r, row, MSG_ID), j->message_id.text, sizeof j->message_id.text);
    j->bytes = bytes.ptr != NULL ? bytes : arena_dup(&j->mem, pg_cell(r, row, MSG_TEXT));
    j->seq = pg_cell_int(r, row, MSG_SEQ);
    j->received_us = pg_cell_int(r, row, MSG_RECEIVED_US);
    j->attempts = (int)pg_cell_int(r, row, MSG_ATTEMPTS);
    j->next_attempt_us = pg_cell_int(r, row, MSG_NEXT_US);
    j->replay = (int)pg_cell_int(r, row, MSG_REPLAY);
    j->key_count = feed_array(&j->mem, pg_cell(r, row, MSG_KEYS), j->keys, HL7_KEYS_MAX);
    j->run_error = job_parse(j, &j->run_why);            /* it parsed when it was stored */
    job_weigh(j);
    return j;
}

static void add_again(job *j, const pg_result *r, int row)
{
    again *a = &j->again[j->again_count];
    plan_made *m = &j->made[j->again_count++];
    slice status = pg_cell(r, row, DLV_STATUS);

    (void)slice_cstr(pg_cell(r, row, DLV_ID), a->delivery_id.text, sizeof a->delivery_id.text);
    a->attempts = (int)pg_cell_int(r, row, DLV_ATTEMPTS);
    a->next_attempt_us = pg_cell_int(r, row, DLV_NEXT_US);
    m->service_url = arena_dup(&j->mem, pg_cell(r, row, DLV_URL));
    m->known = pg_cell(r, row, DLV_SHAPE).ptr != NULL;
    m->shape = pg_cell_int(r, row, DLV_SHAPE);
    m->resources = feed_ints(&j->mem, pg_cell(r, row, DLV_RESOURCES), &m->resource_count);
    a->ended = !slice_is(status, "pending") && !slice_is(status, "failed");
    j->any_dead |= slice_is(status, "dead_lettered");
}

job *reading_job_again(connector *c, const pg_result *r, int row, int end)
{
    job *j = reading_job(c, r, row);

    j->redelivery = true;
    j->next_attempt_us = 0;              /* each delivery has its own */
    j->again = arena_array(&j->mem, again, (size_t)(end - row));
    j->made = arena_array(&j->mem, plan_made, (size_t)(end - row));
    for (; row < end; row++) add_again(j, r, row);
    return j;
}

int reading_rows_end(const pg_result *r, int row)
{
    int next = row + 1, rows = pg_rows(r);

    while (next < rows && slice_eq(pg_cell(r, next, MSG_ID), pg_cell(r, row, MSG_ID))) next++;
    return next;
}

int reading_next_scan(int scan, int rows, int found)
{
    if (found >= rows / 4) return rows;  /* they lie close together */
    return scan > SCAN_MOST / 4 ? SCAN_MOST : scan * 4;
}

/* ---- what is set aside ------------------------------------------------------------------ */

/* A row takes some 20 us of PostgreSQL and as much of here; those that it passes over it tells nothing of. */
bool release_may_begin(struct release *r)
{
    enum { PAUSE_NS = 100000000, ROW_NS = 200000, TIMES = 5 };
    uint64_t pause = r->rows * ROW_NS + r->took_ns * TIMES;

    if (pause < PAUSE_NS) pause = PAUSE_NS;
    r->due = r->under_way || (r->began_ns != 0 && clock_ns() - r->began_ns < pause);
    return !r->due;
}

void release_began(struct release *r, int64_t until)
{
    *r = (struct release){ .under_way = true, .began_ns = clock_ns(), .until = until };
}

void release_reached(struct release *r, const struct page *p, int rows, int64_t seq)
{
    if (!r->under_way) return;
    r->took_ns += clock_ns() - p->asked_ns;
    *(seq < r->until ? &r->rows : &r->beyond) += (uint64_t)rows;
    r->under_way = seq < r->until || (seq != INT64_MAX && r->beyond < r->rows);
}

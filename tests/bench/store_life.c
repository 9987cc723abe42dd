/* tests/bench/store_life.c -- the engine's own SQL by itself: each message stored,
 * transformed (one delivery), delivered (six links, as an admission has), with its events, through the
 * store's group commits, without sockets, scripts and HTTP.
 *
 *   bench_store_life URL TENANT CONNECTOR MESSAGES
 *
 * The bound beside which the pipeline's rate is printed: what is left between them is
 * the engine's other work. A window of messages is under way at any time. It prints
 * one JSON line: messages, seconds, messages a second. */
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/clock.h"
#include "store/ingest.h"
#include "store/outcome.h"

enum { WINDOW = 2048, PAYLOAD = 968, PARSED = 2400, LINKS = 6, CONNECTIONS = 2 };

typedef struct life {
    ingest_op        in;
    outcome_op       out;
    outcome_delivery delivery;
    outcome_link     links[LINKS];
    char             control_id[24], key[32];
    slice            keys[1];
} life;

static slice tenant, connector;
static unsigned long wanted, begun, ended;
static char payload[PAYLOAD], parsed[PARSED + 1];
static ingest *messages;
static outcome *outcomes;
static uv_loop_t loop;
static uint64_t started;

static void begin(life *l);

static void fail(const char *what, const err_info *why)
{
    fprintf(stderr, "store_life: %s: %s\n", what, why != NULL ? why->text : "");
    exit(1);
}

static void on_delivered(outcome_op *op, err e, const err_info *why)
{
    life *l = container_of(op, life, out);

    if (e != ERR_OK) fail("delivered", why);
    if (++ended == wanted) uv_stop(&loop);
    else if (begun < wanted) begin(l);
}

static void on_transformed(outcome_op *op, err e, const err_info *why)
{
    static const char *const types[LINKS] = { "MessageHeader", "Organization", "Patient", "Encounter", "Practitioner", "Location" };
    life *l = container_of(op, life, out);

    if (e != ERR_OK) fail("transformed", why);
    for (int i = 0; i < LINKS; i++)
        l->links[i] = (outcome_link){ slice_of(types[i]), slice_of(l->control_id), true };
    l->out = (outcome_op){ .kind = OUTCOME_DELIVERED, .tenant = tenant, .connector_id = connector,
                           .message_id = l->in.message_id, .epoch = 1, .status = "delivered", .attempts = 1,
                           .delivery_id = l->delivery.delivery_id, .http_status = 200,
                           .links = l->links, .link_count = LINKS, .only = true, .done = on_delivered };
    outcome_put(outcomes, &l->out);
}

static void on_stored(ingest_op *op)
{
    life *l = container_of(op, life, in);

    if (op->outcome != INGEST_STORED) fail("not stored", &op->why);
    l->delivery = (outcome_delivery){ id_new(ID_DELIVERY), slice_lit("http://127.0.0.1:1/fhir"),
                                      slice_lit("RR_01KA0000000000000000000000"), NULL, 0, LINKS, NULL, 0 };
    l->out = (outcome_op){ .kind = OUTCOME_TRANSFORMED, .tenant = tenant, .connector_id = connector,
                           .message_id = op->message_id, .epoch = 1, .status = "processing", .parsed = { parsed, PARSED },
                           .pack_digest = SLICE_NONE, .deliveries = &l->delivery, .delivery_count = 1,
                           .done = on_transformed };
    outcome_put(outcomes, &l->out);
}

static void begin(life *l)
{
    unsigned long n = begun++;

    (void)snprintf(l->control_id, sizeof l->control_id, "B%015lu", n);
    (void)snprintf(l->key, sizeof l->key, "%08lu^NORTHHOSP", n % 10000);
    l->keys[0] = slice_of(l->key);
    l->in = (ingest_op){ .message_id = id_new(ID_MESSAGE), .tenant = tenant, .connector_id = connector,
                         .type = slice_lit("ADT^A01"), .control_id = slice_of(l->control_id),
                         .sending_app = slice_lit("ADTWEST"), .sending_facility = slice_lit("NORTHHOSP"),
                         .receiving_app = slice_lit("INTEROP"), .text = { payload, PAYLOAD },
                         .keys = l->keys, .key_count = 1, .received_us = clock_real_us(), .connection = n % 64,
                         .done = on_stored };
    l->in.hash = sha256_of(l->in.control_id);
    ingest_put(messages, &l->in);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: bench_store_life URL TENANT CONNECTOR MESSAGES\n");
        return 2;
    }
    tenant = slice_of(argv[2]);
    connector = slice_of(argv[3]);
    wanted = strtoul(argv[4], NULL, 10);
    static const char text[] = "MSH|^~\\&|ADTWEST|NORTHHOSP|INTEROP|NORTH|20260301081530+0000||ADT^A01^ADT_A01|1|P|2.5.1\r";
    for (size_t i = 0; i < PAYLOAD; i++) payload[i] = text[i % (sizeof text - 1)];
    for (int i = 0; i < PARSED; i++) parsed[i] = (char)('a' + i % 23);
    memcpy(parsed, "{\"x\":\"", 6);
    memcpy(parsed + PARSED - 2, "\"}", 2);

    if (uv_loop_init(&loop) != 0) return 1;
    messages = ingest_open(&loop, argv[1], CONNECTIONS, NULL, NULL);
    outcomes = outcome_open(&loop, argv[1], CONNECTIONS);
    while (!ingest_is_ready(messages, NULL) || !outcome_is_ready(outcomes, NULL)) uv_run(&loop, UV_RUN_ONCE);

    life *lives = calloc(WINDOW, sizeof *lives);
    if (lives == NULL) return 1;
    started = clock_ns();
    for (unsigned long i = 0; i < WINDOW && i < wanted; i++) begin(&lives[i]);
    uv_run(&loop, UV_RUN_DEFAULT);
    double seconds = (double)(clock_ns() - started) / 1e9;
    printf("{\"messages\":%lu,\"seconds\":%.3f,\"per_s\":%.0f}\n", wanted, seconds, (double)wanted / seconds);
    free(lives);
    return 0;
}

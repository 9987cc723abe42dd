/* tests/bench/store_bound.c -- what PostgreSQL itself takes of the engine's rows: the
 * bound beside which its rates are printed.
 *
 *   bench_store_bound insert URL ROWS    the rows of hl7_messages, by one INSERT … SELECT FROM
 *                                        unnest of 200 rows a commit, on two connections
 *   bench_store_bound single URL ROWS    one row by one prepared INSERT and commit, on one
 *
 * Into a copy of the table as it is migrated, with every index, default and check,
 * without row-level security, events and triggers. URL is the owner's. It prints one
 * JSON line: rows, seconds, rows a second, and the latency of a statement in microseconds. */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 200, COLUMNS = 13, PAYLOAD = 968, VALUE_MAX = 80, TEXT_MAX = BATCH * 1200 };

#define COLUMN_NAMES "tenant_id, id, connector_id, message_type, message_control_id, sending_app, sending_facility," \
                     " receiving_app, raw_payload, content_hash, lane_keys, received_at, seq"

static char payload[PAYLOAD + 1];
static const char *url;

typedef struct worker {
    char letter;                                         /* keeps the workers' ids apart */
    unsigned long rows;
    uint32_t *latency_us;
    unsigned long statements;
} worker;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static PGresult *run_or_die(PGconn *db, PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fprintf(stderr, "store_bound: %s", PQerrorMessage(db));
        exit(1);
    }
    return res;
}

static void run(PGconn *db, const char *sql) { PQclear(run_or_die(db, PQexec(db, sql))); }

static PGconn *open_or_die(void)
{
    PGconn *db = PQconnectdb(url);

    if (PQstatus(db) != CONNECTION_OK) {
        fprintf(stderr, "store_bound: %s", PQerrorMessage(db));
        exit(1);
    }
    run(db, "SET client_min_messages = warning");
    return db;
}

/* The values of one row, as text; `n` makes it unlike every other. */
static void make_row(char letter, unsigned long n, char out[COLUMNS][VALUE_MAX], const char *value[COLUMNS])
{
    static const char *const fixed[COLUMNS] = {
        "north", NULL, "CONN_01KA0000000000000000000000", "ADT^A01", NULL, "ADTWEST", "NORTHHOSP", "INTEROP",
        payload, NULL, NULL, "2026-03-01 08:15:30.123456+00", NULL
    };

    for (int i = 0; i < COLUMNS; i++) value[i] = fixed[i] != NULL ? fixed[i] : out[i];
    (void)snprintf(out[1], VALUE_MAX, "MSG_01KA%021lu%c", n, letter);
    (void)snprintf(out[4], VALUE_MAX, "%c%015lu", letter, n);
    (void)snprintf(out[9], VALUE_MAX, "\\x%016lx%016lx%016lx%016lx", n * 0x9e3779b97f4a7c15u, n * 0xc2b2ae3d27d4eb4fu,
                   n * 0x165667b19e3779f9u, n * 0x27d4eb2f165667c5u);
    (void)snprintf(out[10], VALUE_MAX, "{\"%08lu^NORTHHOSP\"}", n % 10000);
    (void)snprintf(out[12], VALUE_MAX, "%lu", n);
}

static char *add_quoted(char *p, const char *text)
{
    *p++ = '"';
    for (; *text != '\0'; text++) {
        if (*text == '"' || *text == '\\') *p++ = '\\';
        *p++ = *text;
    }
    *p++ = '"';
    return p;
}

static void *insert_batches(void *arg)
{
    worker *w = arg;
    PGconn *db = open_or_die();
    char sql[1024], *column[COLUMNS];
    const char *params[COLUMNS];

    for (int i = 0; i < COLUMNS; i++) params[i] = column[i] = malloc(TEXT_MAX);
    (void)snprintf(sql, sizeof sql, "INSERT INTO bound_messages (direction, " COLUMN_NAMES ")"
        " SELECT 'inbound', u.t, u.i, u.c, u.y, u.d, u.a, u.f, u.r, u.p, u.h, u.k::text[], u.w, u.s"
        " FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],"
        " $9::text[], $10::bytea[], $11::text[], $12::timestamptz[], $13::bigint[])"
        " AS u (t, i, c, y, d, a, f, r, p, h, k, w, s)");
    PQclear(run_or_die(db, PQprepare(db, "batch", sql, 0, NULL)));
    for (unsigned long n = 0; n < w->rows; n += BATCH) {
        char *p[COLUMNS];
        for (int i = 0; i < COLUMNS; i++) { p[i] = column[i]; *p[i]++ = '{'; }
        for (unsigned long k = 0; k < BATCH; k++) {
            char text[COLUMNS][VALUE_MAX];
            const char *value[COLUMNS];
            make_row(w->letter, n + k, text, value);
            for (int i = 0; i < COLUMNS; i++) {
                if (k > 0) *p[i]++ = ',';
                p[i] = add_quoted(p[i], value[i]);
            }
        }
        for (int i = 0; i < COLUMNS; i++) { *p[i]++ = '}'; *p[i] = '\0'; }
        uint64_t start = now_ns();
        PQclear(run_or_die(db, PQexecPrepared(db, "batch", COLUMNS, params, NULL, NULL, 0)));
        w->latency_us[w->statements++] = (uint32_t)((now_ns() - start) / 1000);
    }
    for (int i = 0; i < COLUMNS; i++) free(column[i]);
    PQfinish(db);
    return NULL;
}

static void *insert_singles(void *arg)
{
    worker *w = arg;
    PGconn *db = open_or_die();
    char sql[1024];

    (void)snprintf(sql, sizeof sql, "INSERT INTO bound_messages (direction, " COLUMN_NAMES ") VALUES ('inbound', $1, $2, $3, $4, $5,"
        " $6, $7, $8, $9, $10, $11, $12, $13)");
    PQclear(run_or_die(db, PQprepare(db, "single", sql, 0, NULL)));
    for (unsigned long n = 0; n < w->rows; n++) {
        char text[COLUMNS][VALUE_MAX];
        const char *value[COLUMNS];
        make_row(w->letter, n, text, value);
        uint64_t start = now_ns();
        PQclear(run_or_die(db, PQexecPrepared(db, "single", COLUMNS, value, NULL, NULL, 0)));
        w->latency_us[w->statements++] = (uint32_t)((now_ns() - start) / 1000);
    }
    PQfinish(db);
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    int insert = argc == 4 && strcmp(argv[1], "insert") == 0, single = argc == 4 && strcmp(argv[1], "single") == 0;
    worker workers[2] = { { .letter = 'A' }, { .letter = 'B' } };
    unsigned count = insert ? 2 : 1;
    pthread_t thread[2];

    if (!insert && !single) {
        fprintf(stderr, "usage: bench_store_bound insert|single URL ROWS\n");
        return 2;
    }
    url = argv[2];
    unsigned long each = strtoul(argv[3], NULL, 10) / count / BATCH * BATCH;
    if (each == 0) each = BATCH;
    static const char text[] = "MSH|^~\\&|ADTWEST|NORTHHOSP|INTEROP|NORTH|20260301081530+0000||ADT^A01^ADT_A01|1|P|2.5.1\r";
    for (size_t i = 0; i < PAYLOAD; i++) payload[i] = text[i % (sizeof text - 1)];

    PGconn *db = open_or_die();
    run(db, "DROP TABLE IF EXISTS bound_messages");
    run(db, "CREATE TABLE bound_messages (LIKE hl7_messages INCLUDING ALL)");
    run(db, "CHECKPOINT");

    uint64_t start = now_ns();
    for (unsigned i = 0; i < count; i++) {
        workers[i].rows = each;
        workers[i].latency_us = calloc(each + BATCH, sizeof *workers[i].latency_us);
        if (pthread_create(&thread[i], NULL, insert ? insert_batches : insert_singles, &workers[i]) != 0) return 1;
    }
    for (unsigned i = 0; i < count; i++) pthread_join(thread[i], NULL);
    double seconds = (double)(now_ns() - start) / 1e9, rows = (double)(each * count);
    qsort(workers[0].latency_us, workers[0].statements, sizeof(uint32_t), by_value);
    printf("{\"rows\":%.0f,\"seconds\":%.3f,\"per_s\":%.0f,\"p50_us\":%u,\"p99_us\":%u}\n", rows, seconds, rows / seconds,
           workers[0].latency_us[workers[0].statements / 2], workers[0].latency_us[workers[0].statements * 99 / 100]);
    run(db, "DROP TABLE bound_messages");
    for (unsigned i = 0; i < count; i++) free(workers[i].latency_us);
    PQfinish(db);
    return 0;
}

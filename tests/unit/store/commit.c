/* tests/unit/store/commit.c -- a connection, ingest and outcomes on a real PostgreSQL: what a person
 * may be told, a lost connection, the bad row alone, the order of completion, a run that was overtaken. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "store/ingest.h"
#include "store/migrate.h"
#include "store/outcome.h"

static char folder[64], owner_url[512], engine_url[512];
static uv_loop_t loop;

#define CONNECTOR "CONN_01J0000000000000000000TEST"
#define OTHERS "CONN_01J000000000000000000OTHER"         /* another node's */
#define NODE "NODE_01J0000000000000000000TEST"

/* ---- the server ------------------------------------------------------------------------ */

static void say(void *arg, const char *line) { (void)arg; (void)line; }

static int start_server(void **state)
{
    char command[128];
    FILE *said;
    char *user;
    err_info why;
    db *d;

    (void)state;
    (void)snprintf(folder, sizeof folder, "/var/tmp/interop-unit-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    (void)snprintf(command, sizeof command, "scripts/postgres start %s/pg", folder);
    said = popen(command, "r");
    if (said == NULL || fgets(owner_url, sizeof owner_url, said) == NULL || pclose(said) != 0) return -1;
    owner_url[strcspn(owner_url, "\n")] = '\0';
    user = strstr(owner_url, "owner@");
    if (user == NULL) return -1;
    (void)snprintf(engine_url, sizeof engine_url, "%.*sengine@%s", (int)(user - owner_url), owner_url, user + 6);
    if (migrate_run(owner_url, engine_url, &(migrate_report){ say, NULL }, &why) != ERR_OK) {
        (void)fprintf(stderr, "%s\n", why.text);
        return -1;
    }
    if (db_open(owner_url, "test", &d, &why) != ERR_OK) return -1;
    if (db_exec(d, "INSERT INTO interop_connectors (id, tenant_id, name, protocol, direction)"
                   " VALUES ('" CONNECTOR "', 'north', 'adt', 'mllp', 'inbound'),"
                   "        ('" OTHERS "', 'south', 'adt', 'mllp', 'inbound')", NULL, 0, NULL, &why) != ERR_OK) return -1;
    if (db_exec(d, "INSERT INTO interop_nodes (id, name, instance, host, pid, pid_since, release, expires_at)"
                   " SELECT id, id, id, id, 1, 1, '0', 'infinity' FROM unnest(ARRAY['" NODE "', 'NODE_other']) AS id",
                NULL, 0, NULL, &why) != ERR_OK) return -1;
    if (db_exec(d, "INSERT INTO interop_leases (connector_id, tenant_id, node_id, epoch)"
                   " VALUES ('" CONNECTOR "', 'north', '" NODE "', 7), ('" OTHERS "', 'south', 'NODE_other', 8)",
                NULL, 0, NULL, &why) != ERR_OK) return -1;
    db_close(d);
    return uv_loop_init(&loop);
}

static int stop_server(void **state)
{
    char command[256];

    (void)state;
    (void)snprintf(command, sizeof command, "scripts/postgres stop %s/pg; rm -rf \"$(realpath %s/pg)\" %s", folder, folder, folder);
    return uv_loop_close(&loop) == 0 && system(command) == 0 ? 0 : -1;
}

static void on_closed(void *arg) { *(bool *)arg = true; }

static void run_while(const bool *wanted)
{
    while (!*wanted) (void)uv_run(&loop, UV_RUN_ONCE);
}

/* ---- a connection ------------------------------------------------------------------------ */

typedef struct answer { bool came; err e; char sqlstate[6]; err_info why; char cell[64]; } answer;

static void on_answer(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    answer *a = arg;

    assert_false(a->came);
    a->came = true;
    a->e = e;
    (void)slice_cstr(slice_of(sqlstate), a->sqlstate, sizeof a->sqlstate);
    if (e != ERR_OK) a->why = *why;
    else if (count > 0 && pg_rows(&results[0]) > 0) (void)slice_cstr(pg_cell(&results[0], 0, 0), a->cell, sizeof a->cell);
}

static void ask(pg *c, answer *a, const char *sql)
{
    pg_unit *u = pg_unit_new(c);

    *a = (answer){ 0 };
    pg_unit_sql(u, sql, NULL, 0);
    pg_submit(u, on_answer, a);
    assert_false(a->came);
}

static void test_told(void **state)
{
    static const struct { const char *sql, *sqlstate, *says; } cases[] = {
        { "SELECT 'Doe^Jane'::int", "22P02", "SQLSTATE 22P02" },
        { "SELECT '{\"Doe^Jane'::jsonb", "22P02", "SQLSTATE 22P02" },
        { "SELECT '{Doe^Jane'::text[]", "22P02", "SQLSTATE 22P02" },
        { "SELECT 'Doe^Jane'::timestamptz", "22007", "SQLSTATE 22007" },
        { "SELECT 1 FROM nowhere", "42P01", "nowhere" },
    };
    pg *c = pg_open(&loop, &(pg_options){ .url = engine_url, .application = "test" });
    bool closed = false;
    answer a, late;

    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        ask(c, &a, cases[i].sql);
        run_while(&a.came);
        assert_int_equal(a.e, ERR_STORE);
        assert_string_equal(a.sqlstate, cases[i].sqlstate);
        assert_non_null(strstr(a.why.text, cases[i].says));
        assert_null(strstr(a.why.text, "Doe"));
    }
    ask(c, &a, "SELECT pg_sleep(5)");
    pg_close(c, on_closed, &closed);
    assert_int_equal(a.e, ERR_CLOSED);
    ask(c, &late, "SELECT 1");           /* answered, though it came too late */
    run_while(&closed);
    assert_true(late.came);
    assert_int_equal(late.e, ERR_CLOSED);
}

static void test_lost(void **state)
{
    pg *c = pg_open(&loop, &(pg_options){ .url = engine_url, .application = "victim" });
    pg *other = pg_open(&loop, &(pg_options){ .url = owner_url, .application = "test" });
    bool closed[2] = { false, false };
    answer pid, asleep, killed, waiting;

    (void)state;
    ask(c, &pid, "SELECT pg_backend_pid()");
    run_while(&pid.came);
    ask(c, &asleep, "SELECT pg_sleep(30)");
    ask(other, &killed, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name LIKE 'victim %'");
    run_while(&killed.came);
    run_while(&asleep.came);
    assert_int_equal(asleep.e, ERR_STORE_LOST);
    ask(c, &waiting, "SELECT pg_backend_pid()");         /* waits for the new connection */
    run_while(&waiting.came);
    assert_int_equal(waiting.e, ERR_OK);
    assert_string_not_equal(waiting.cell, pid.cell);
    pg_close(c, on_closed, &closed[0]);
    pg_close(other, on_closed, &closed[1]);
    run_while(&closed[0]);
    run_while(&closed[1]);
}

/* ---- ingest ---------------------------------------------------------------------------------- */

typedef struct stored { ingest_op op; int place; } stored;

static int completed;

static void on_stored(ingest_op *op) { container_of(op, stored, op)->place = ++completed; }

static void prepare(stored *s, const char *control_id, const char *text)
{
    *s = (stored){ .op = {
        .message_id = id_new(ID_MESSAGE), .tenant = slice_lit("north"), .connector_id = slice_lit(CONNECTOR),
        .type = slice_lit("ADT^A01"), .control_id = slice_of(control_id), .text = slice_of(text),
        .hash = sha256_of(slice_of(text)), .received_us = clock_real_us(), .connection = 1, .done = on_stored,
    } };
}

static void run_until(const int *value, int wanted)
{
    while (*value < wanted) (void)uv_run(&loop, UV_RUN_ONCE);
}

static void on_lost(ingest_op *op) { (void)op; fail(); }

static struct { int times; char writer_name[32]; int64_t seq; } heard;

static void on_heard(void *arg, slice connector_id, slice writer_name, int64_t seq)
{
    assert_ptr_equal(arg, &loop);
    assert_true(slice_is(connector_id, CONNECTOR));
    heard.times++;
    heard.seq = seq;
    (void)slice_cstr(writer_name, heard.writer_name, sizeof heard.writer_name);
}

static ingest *ingest_here(const char *node_id)
{
    ingest *in = ingest_open(&loop, engine_url, 1, on_heard, &loop);
    id self;

    (void)slice_cstr(slice_of(node_id), self.text, sizeof self.text);
    ingest_as(in, &self);
    return in;
}

static void test_ingest(void **state)
{
    ingest *in = ingest_here(NODE);
    bool closed = false;
    stored first, a, bad, b, repeat, reused, again, next;

    (void)state;
    prepare(&first, "1", "MSH one");
    prepare(&a, "2", "MSH two");
    prepare(&bad, "3", "MSH Doe^Jane \xff\xfe");
    prepare(&b, "4", "MSH four");
    prepare(&repeat, "1", "MSH one");
    prepare(&reused, "2", "MSH other");
    completed = 0;
    ingest_put(in, &first.op);           /* alone; the rest becomes the next batch */
    ingest_put(in, &a.op);
    ingest_put(in, &bad.op);
    ingest_put(in, &b.op);
    ingest_put(in, &repeat.op);
    ingest_put(in, &reused.op);
    run_until(&completed, 6);
    assert_int_equal(first.op.outcome, INGEST_STORED);
    assert_int_equal(a.op.outcome, INGEST_STORED);
    assert_int_equal(b.op.outcome, INGEST_STORED);
    assert_true(first.op.seq < a.op.seq && a.op.seq < b.op.seq);
    assert_int_equal(bad.op.outcome, INGEST_REFUSED);    /* alone */
    assert_null(strstr(bad.op.why.text, "Doe"));
    assert_null(strstr(bad.op.why.text, "0x"));
    assert_int_equal(repeat.op.outcome, INGEST_REPEAT);
    assert_string_equal(repeat.op.found_id.text, first.op.message_id.text);
    assert_string_equal(repeat.op.found_status, "pending");
    assert_int_equal(reused.op.outcome, INGEST_REUSED);
    const stored *const arrived[] = { &first, &a, &bad, &b, &repeat, &reused };
    for (int i = 0; i < 6; i++) assert_int_equal(arrived[i]->place, i + 1);

    /* A batch whose commit was done and whose answer was lost goes again, with what came since: it finds its
     * own row, and keeps its place before the next. */
    again = a;
    prepare(&next, "5", "MSH five");
    prepare(&first, "6", "MSH six");
    completed = 0;
    ingest_put(in, &first.op);
    ingest_put(in, &again.op);
    ingest_put(in, &next.op);
    run_until(&completed, 3);
    assert_int_equal(again.op.outcome, INGEST_STORED);
    assert_int_equal(again.op.seq, a.op.seq);
    assert_int_equal(again.place, 2);
    assert_int_equal(next.op.outcome, INGEST_STORED);
    assert_int_equal(next.place, 3);

    /* Accepted, a reused id gets a suffix, and the same again is known. */
    reused.op.accept_reused = true;
    repeat = reused;
    repeat.op.message_id = id_new(ID_MESSAGE);
    completed = 0;
    ingest_put(in, &reused.op);
    ingest_put(in, &repeat.op);
    run_until(&completed, 2);
    assert_int_equal(reused.op.outcome, INGEST_STORED);
    assert_int_equal(repeat.op.outcome, INGEST_REPEAT);
    assert_string_equal(repeat.op.found_id.text, reused.op.message_id.text);
    assert_int_equal(ingest_waiting(in), 0);
    ingest_close(in, on_lost, on_closed, &closed);
    run_while(&closed);
}

/* ---- outcomes ------------------------------------------------------------------------------------ */

typedef struct ended { outcome_op op; int times; err e; } ended;

static void on_ended(outcome_op *op, err e, const err_info *why)
{
    ended *n = container_of(op, ended, op);

    (void)why;
    n->times++;
    n->e = e;
}

static void on_outcome_lost(outcome_op *op) { (void)op; fail(); }

static err put_outcome(outcome *out, const id *message_id, int replay, const char *parsed)
{
    ended n = { .op = {
        .kind = OUTCOME_TRANSFORMED, .tenant = slice_lit("north"), .connector_id = slice_lit(CONNECTOR),
        .message_id = *message_id, .epoch = 7, .replay = replay, .status = "processed", .parsed = slice_of(parsed), .done = on_ended,
    } };

    outcome_put(out, &n.op);
    run_until(&n.times, 1);
    assert_int_equal(n.times, 1);
    return n.e;
}

static void test_outcome(void **state)
{
    ingest *in = ingest_here(NODE);
    outcome *out = outcome_open(&loop, engine_url, 1);
    bool closed[2] = { false, false };
    stored s;

    (void)state;
    prepare(&s, "7", "MSH seven");
    completed = 0;
    ingest_put(in, &s.op);
    run_until(&completed, 1);
    assert_int_equal(put_outcome(out, &s.op.message_id, 1, "{}"), ERR_CONFLICT);         /* of a replay that is not there */
    assert_int_equal(put_outcome(out, &s.op.message_id, 0, "{\"a\":\"\\u0000\"}"), ERR_STORE);
    assert_int_equal(put_outcome(out, &s.op.message_id, 0, "{\"a\":1}"), ERR_OK);
    assert_int_equal(put_outcome(out, &s.op.message_id, 0, "{\"a\":2}"), ERR_CONFLICT);  /* another run has ended it */
    ingest_close(in, on_lost, on_closed, &closed[0]);
    outcome_close(out, on_outcome_lost, on_closed, &closed[1]);
    run_while(&closed[0]);
    run_while(&closed[1]);
}

/* Of a batch, the one whose lease has gone is refused alone. */
static void test_lease_lost(void **state)
{
    ingest *in = ingest_here(NODE);
    outcome *out = outcome_open(&loop, engine_url, 1);
    bool closed[2] = { false, false };
    stored s[3];
    ended n[3];

    (void)state;
    completed = 0;
    for (int i = 0; i < 3; i++) {
        char name[2] = { (char)('A' + i), '\0' };
        prepare(&s[i], name, name);
        ingest_put(in, &s[i].op);
        run_until(&completed, i + 1);
        n[i] = (ended){ .op = {
            .kind = OUTCOME_TRANSFORMED, .tenant = slice_lit("north"), .connector_id = slice_lit(CONNECTOR),
            .message_id = s[i].op.message_id, .epoch = i == 1 ? 6 : 7, .status = "processed", .parsed = slice_lit("{}"), .done = on_ended,
        } };
    }
    for (int i = 0; i < 3; i++) outcome_put(out, &n[i].op);
    for (int i = 0; i < 3; i++) {
        run_until(&n[i].times, 1);
        assert_int_equal(n[i].e, i == 1 ? ERR_CONFLICT : ERR_OK);
        assert_int_equal(n[i].op.lease_lost, i == 1);
    }
    ingest_close(in, on_lost, on_closed, &closed[0]);
    outcome_close(out, on_outcome_lost, on_closed, &closed[1]);
    run_while(&closed[0]);
    run_while(&closed[1]);
}

/* A row as the writer of another process would make it. */
static void db_handover(int64_t seq)
{
    char sql[256];
    err_info why;
    db *d;

    assert_int_equal(db_open(owner_url, "test", &d, &why), ERR_OK);
    (void)snprintf(sql, sizeof sql, "INSERT INTO interop_handovers (connector_id, writer, tenant_id, seq)"
                   " VALUES ('" CONNECTOR "', 'others.0', 'north', %lld)", (long long)seq);
    assert_int_equal(db_exec(d, sql, NULL, 0, NULL, &why), ERR_OK);
    db_close(d);
}

/* What is stored for a connector of another node says so; who has it hears how far others have stored. */
static void test_handover(void **state)
{
    ingest *there = ingest_here("NODE_other"), *here = ingest_here(NODE);
    bool closed[2] = { false, false };
    stored a, b, c, d;

    (void)state;
    prepare(&a, "H1", "MSH a");
    prepare(&b, "H2", "MSH b");
    prepare(&c, "H3", "MSH c");
    prepare(&d, "H4", "MSH d");
    d.op.connector_id = slice_lit(OTHERS);
    d.op.tenant = slice_lit("south");
    completed = heard.times = 0;
    ingest_put(there, &a.op);
    run_until(&completed, 1);
    assert_true(a.op.outcome == INGEST_STORED && a.op.elsewhere);
    assert_int_equal(heard.times, 0);
    /* Both are writer 0 of this process: the one row would be one's own. */
    ingest_put(here, &b.op);
    ingest_put(here, &d.op);
    run_until(&completed, 3);
    assert_false(b.op.elsewhere);
    assert_true(d.op.elsewhere);
    db_handover(a.op.seq);
    ingest_put(here, &c.op);
    run_until(&completed, 4);
    assert_false(c.op.elsewhere);
    assert_int_equal(heard.times, 1);
    assert_int_equal(heard.seq, a.op.seq);
    assert_string_equal(heard.writer_name, "others.0");
    ingest_close(there, on_lost, on_closed, &closed[0]);
    ingest_close(here, on_lost, on_closed, &closed[1]);
    run_while(&closed[0]);
    run_while(&closed[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_told), cmocka_unit_test(test_lost), cmocka_unit_test(test_ingest), cmocka_unit_test(test_outcome),
        cmocka_unit_test(test_lease_lost), cmocka_unit_test(test_handover)
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}

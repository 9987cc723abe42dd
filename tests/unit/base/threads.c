/* tests/unit/base/threads.c -- identifiers and queues, from several threads at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/queue.h"
#include "base/ulid.h"

#define THREADS 4
#define EACH 5000

/* ---- identifiers ------------------------------------------------------------------- */

static id made[THREADS][EACH];

static void *make_ids(void *arg)
{
    id *out = arg;

    for (size_t i = 0; i < EACH; i++) out[i] = id_new(ID_MESSAGE);
    return NULL;
}

static int by_text(const void *a, const void *b)
{
    const id *x = a, *y = b;
    return strcmp(x->text, y->text);
}

static void test_ids(void **state)
{
    pthread_t thread[THREADS];
    id parsed;

    (void)state;
    for (size_t i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, make_ids, made[i]), 0);
    for (size_t i = 0; i < THREADS; i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    for (size_t t = 0; t < THREADS; t++)             /* each thread's go up */
        for (size_t i = 1; i < EACH; i++) assert_true(by_text(&made[t][i - 1], &made[t][i]) < 0);
    id *all = &made[0][0];
    qsort(all, (size_t)THREADS * EACH, sizeof(id), by_text);
    for (size_t i = 1; i < (size_t)THREADS * EACH; i++) assert_true(by_text(&all[i - 1], &all[i]) < 0);
    assert_true(id_parse(id_slice(&all[0]), ID_MESSAGE, &parsed));
    assert_string_equal(parsed.text, all[0].text);
}

static const struct { const char *text, *prefix; bool good; } texts[] = {
    { "CONN_01ARZ3NDEKTSV4RRFFQ69G5FAV", "CONN_", true }, { "RR_01ARZ3NDEKTSV4RRFFQ69G5FAV", "RR_", true },
    { "CONN_01ARZ3NDEKTSV4RRFFQ69G5FAV", "MSG_", false }, { "01ARZ3NDEKTSV4RRFFQ69G5FAV", "CONN_", false },
    { "CONN_01ARZ3NDEKTSV4RRFFQ69G5FA", "CONN_", false }, { "CONN_01ARZ3NDEKTSV4RRFFQ69G5FAVX", "CONN_", false },
    { "CONN_01arz3ndektsv4rrffq69g5fav", "CONN_", false }, { "CONN_01ARZ3NDEKTSV4RRFFQ69G5FAI", "CONN_", false },
    { "CONN_01ARZ3NDEKTSV4RRFFQ69G5F'V", "CONN_", false }, { "", "CONN_", false },
};

static void test_parse(void **state)
{
    id out;

    (void)state;
    for (size_t i = 0; i < countof(texts); i++)
        assert_int_equal(id_parse(slice_of(texts[i].text), texts[i].prefix, &out), texts[i].good);
    assert_false(id_parse((slice){ "RR_01ARZ3NDEKTSV4RRFFQ69G5FA\0", 29 }, "RR_", &out));
}

/* ---- queues -------------------------------------------------------------------------- */

typedef struct item { list link; size_t from, n; } item;

static queue work;
static item items[THREADS][EACH];
static size_t taken[THREADS][THREADS];   /* by taker, from putter */

static void *put_items(void *arg)
{
    item *mine = arg;

    for (size_t i = 0; i < EACH; i++) (void)queue_put(&work, &mine[i].link);
    return NULL;
}

static void *take_items(void *arg)
{
    size_t *count = arg, last[THREADS] = { 0 };

    for (list *link; (link = queue_wait(&work)) != NULL;) {
        const item *it = container_of(link, item, link);
        if (it->n + 1 <= last[it->from]) return "out of order";
        last[it->from] = it->n + 1;
        count[it->from]++;
    }
    return NULL;
}

static void test_queue(void **state)
{
    pthread_t putter[THREADS], taker[THREADS];
    void *wrong;

    (void)state;
    queue_init(&work);
    for (size_t t = 0; t < THREADS; t++) {
        for (size_t i = 0; i < EACH; i++) items[t][i] = (item){ .from = t, .n = i };
        assert_int_equal(pthread_create(&taker[t], NULL, take_items, taken[t]), 0);
        assert_int_equal(pthread_create(&putter[t], NULL, put_items, items[t]), 0);
    }
    for (size_t t = 0; t < THREADS; t++) assert_int_equal(pthread_join(putter[t], NULL), 0);
    queue_close(&work);                  /* what is there is still taken */
    for (size_t t = 0; t < THREADS; t++) {
        assert_int_equal(pthread_join(taker[t], &wrong), 0);
        assert_null(wrong);
    }
    for (size_t from = 0; from < THREADS; from++) {
        size_t sum = 0;
        for (size_t t = 0; t < THREADS; t++) sum += taken[t][from];
        assert_int_equal(sum, EACH);
    }
    queue_fini(&work);
}

static void test_drain(void **state)
{
    item a = { .n = 1 }, b = { .n = 2 };
    queue q;
    list out;

    (void)state;
    queue_init(&q);
    list_init(&out);
    assert_true(queue_put(&q, &a.link));             /* the reader may sleep */
    assert_false(queue_put(&q, &b.link));
    queue_drain(&q, &out);
    assert_ptr_equal(list_pop(&out), &a.link);
    assert_ptr_equal(list_pop(&out), &b.link);
    assert_true(queue_put(&q, &a.link));
    queue_close(&q);
    assert_ptr_equal(queue_wait(&q), &a.link);
    assert_null(queue_wait(&q));
    queue_fini(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ids), cmocka_unit_test(test_parse),
        cmocka_unit_test(test_queue), cmocka_unit_test(test_drain),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/unit/base/metric.c -- the exposition, byte by byte, and counting from
 * several threads at once. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>
#include <pthread.h>

#include "base/metric.h"

static void assert_shows(const char *want)
{
    buf out = buf_in(NULL);

    metric_render(&out);
    buf_putc(&out, '\0');
    if (strstr(out.ptr, want) == NULL) fail_msg("%s\n-- is not in --\n%s", want, out.ptr);
    buf_free(&out);
}

static void test_text(void **state)
{
    metric_family *f = metric_family_get(METRIC_GAUGE, "t_queue", "Waiting \"now\"\nby\\lane", "tenant,name");
    slice b[] = { slice_lit("b"), slice_lit("x") }, a2[] = { slice_lit("a"), slice_lit("y") };
    slice odd[] = { slice_lit("a"), slice_lit("q\"\\\n") };

    (void)state;
    metric_set(metric_get(f, b), -3);
    metric_set(metric_get(f, a2), 5);
    metric_add(metric_get(f, a2), 1);
    metric_set(metric_get(f, odd), 0);
    assert_ptr_equal(metric_family_get(METRIC_GAUGE, "t_queue", "", "tenant,name"), f);
    assert_int_equal(metric_value(metric_get(f, a2)), 6);
    assert_shows("# HELP t_queue Waiting \"now\"\\nby\\\\lane\n"
                 "# TYPE t_queue gauge\n"
                 "t_queue{tenant=\"a\",name=\"q\\\"\\\\\\n\"} 0\n"
                 "t_queue{tenant=\"a\",name=\"y\"} 6\n"
                 "t_queue{tenant=\"b\",name=\"x\"} -3\n");
    metric_drop(f, metric_get(f, odd));
    assert_shows("# TYPE t_queue gauge\nt_queue{tenant=\"a\",name=\"y\"} 6\n");
}

/* Families come by name, whatever the order they were made in. */
static void test_order(void **state)
{
    metric_add(metric_get(metric_family_get(METRIC_COUNTER, "u_c_total", "c", ""), NULL), 3);
    metric_add(metric_get(metric_family_get(METRIC_COUNTER, "u_a_total", "a", ""), NULL), 1);
    metric_add(metric_get(metric_family_get(METRIC_COUNTER, "u_b_total", "b", ""), NULL), 2);
    (void)state;
    assert_shows("# HELP u_a_total a\n# TYPE u_a_total counter\nu_a_total 1\n"
                 "# HELP u_b_total b\n# TYPE u_b_total counter\nu_b_total 2\n"
                 "# HELP u_c_total c\n# TYPE u_c_total counter\nu_c_total 3\n");
}

static void test_histogram(void **state)
{
    static const double seen[] = { 0.0001, 0.00010001, 0.3, 99, 100, 101, -1, NAN };
    metric_family *f = metric_family_get(METRIC_HISTOGRAM, "v_seconds", "h", "to");
    metric *m = metric_get(f, (slice[]){ slice_lit("t") });

    (void)state;
    for (size_t i = 0; i < countof(seen); i++) metric_observe(m, seen[i]);
    assert_shows("# TYPE v_seconds histogram\n"
                 "v_seconds_bucket{to=\"t\",le=\"0.0001\"} 3\n"
                 "v_seconds_bucket{to=\"t\",le=\"0.00025\"} 4\n");
    assert_shows("v_seconds_bucket{to=\"t\",le=\"0.25\"} 4\n"
                 "v_seconds_bucket{to=\"t\",le=\"0.5\"} 5\n"
                 "v_seconds_bucket{to=\"t\",le=\"1\"} 5\n");
    assert_shows("v_seconds_bucket{to=\"t\",le=\"50\"} 5\n"
                 "v_seconds_bucket{to=\"t\",le=\"100\"} 7\n"
                 "v_seconds_bucket{to=\"t\",le=\"+Inf\"} 8\n"
                 "v_seconds_sum{to=\"t\"} 300.300200010\n"
                 "v_seconds_count{to=\"t\"} 8\n");
}

#define ROUNDS 2000

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_family *f = metric_family_get(METRIC_COUNTER, "w_total", "w", "n");
        char name[] = { (char)('a' + i % 8) };
        metric_add(metric_get(f, (slice[]){ { name, 1 } }), 1);
        if (i % 200 == 0) {
            buf out = buf_in(NULL);
            metric_render(&out);
            buf_free(&out);
        }
    }
    return NULL;
}

static void test_threads(void **state)
{
    pthread_t thread[4];

    (void)state;
    for (size_t i = 0; i < countof(thread); i++) assert_int_equal(pthread_create(&thread[i], NULL, count, NULL), 0);
    for (size_t i = 0; i < countof(thread); i++) assert_int_equal(pthread_join(thread[i], NULL), 0);
    assert_shows("w_total{n=\"a\"} 1000\nw_total{n=\"b\"} 1000\n");
    assert_shows("w_total{n=\"h\"} 1000\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text), cmocka_unit_test(test_order),
        cmocka_unit_test(test_histogram), cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

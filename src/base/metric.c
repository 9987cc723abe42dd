/* base/metric.c -- the registry of metrics and its Prometheus text.
 *
 * One lock guards who is registered; counting does not take it. A histogram
 * keeps each bucket by itself and its sum in nanoseconds, so that observing is
 * two relaxed additions; what is cumulative is added up when it is shown. */
#include "base/metric.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/hash.h"

static const struct { double most; const char *text; } bounds[] = {
    { 0.0001, "0.0001" }, { 0.00025, "0.00025" }, { 0.0005, "0.0005" },
    { 0.001, "0.001" }, { 0.0025, "0.0025" }, { 0.005, "0.005" },
    { 0.01, "0.01" }, { 0.025, "0.025" }, { 0.05, "0.05" },
    { 0.1, "0.1" }, { 0.25, "0.25" }, { 0.5, "0.5" },
    { 1, "1" }, { 2.5, "2.5" }, { 5, "5" },
    { 10, "10" }, { 25, "25" }, { 50, "50" }, { 100, "100" },
};
#define BUCKETS (countof(bounds) + 1)    /* the last: more than all bounds */

struct metric {
    map_node         node;
    metric_family   *family;
    slice            value[METRIC_LABELS];
    _Atomic int64_t  number;             /* of a histogram: the sum in ns */
    _Atomic uint64_t bucket[];           /* of a histogram only */
};

struct metric_family {
    list         link;                   /* in `families`, by name */
    metric_kind  kind;
    const char  *name, *help, *labels;
    slice        label[METRIC_LABELS];   /* parts of `labels` */
    size_t       label_count;
    map          metrics;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static list families = { &families, &families };

static const char *const kind_names[] = { "counter", "gauge", "histogram" };

/* ---- the registry -------------------------------------------------------------- */

static metric_family *family_new(metric_kind kind, const char *name, const char *help, const char *labels)
{
    metric_family *f = mem_zalloc(sizeof *f);

    f->kind = kind;
    f->name = mem_dup(slice_of(name));
    f->help = mem_dup(slice_of(help));
    f->labels = mem_dup(slice_of(labels));
    for (slice rest = slice_of(f->labels); rest.len > 0;) {
        if (f->label_count == METRIC_LABELS) die("metric %s has too many labels", name);
        f->label[f->label_count++] = slice_trim(slice_cut(rest, ',', &rest));
    }
    return f;
}

metric_family *metric_family_get(metric_kind kind, const char *name, const char *help, const char *labels)
{
    metric_family *f = NULL;

    (void)pthread_mutex_lock(&lock);
    list *at = families.next;
    for (; at != &families; at = at->next) {
        metric_family *there = container_of(at, metric_family, link);
        int order = strcmp(there->name, name);
        if (order == 0) f = there;
        if (order >= 0) break;
    }
    if (f == NULL) {
        f = family_new(kind, name, help, labels);
        list_insert_before(at, &f->link);
    } else if (f->kind != kind || strcmp(f->labels, labels) != 0) {
        die("metric %s is registered twice, as different things", name);
    }
    (void)pthread_mutex_unlock(&lock);
    return f;
}

static uint64_t values_hash(const metric_family *f, const slice *values)
{
    uint64_t hash = f->label_count;

    for (size_t i = 0; i < f->label_count; i++) hash = hash_mix(hash, hash_bytes(values[i]));
    return hash;
}

static bool same_values(const map_node *node, const void *key)
{
    const metric *m = container_of(node, metric, node);
    const slice *values = key;

    for (size_t i = 0; i < m->family->label_count; i++)
        if (!slice_eq(m->value[i], values[i])) return false;
    return true;
}

static metric *metric_new(metric_family *f, const slice *values)
{
    size_t buckets = f->kind == METRIC_HISTOGRAM ? BUCKETS : 0;
    metric *m = mem_zalloc(sizeof *m + buckets * sizeof m->bucket[0]);

    m->family = f;
    for (size_t i = 0; i < f->label_count; i++)
        m->value[i] = (slice){ mem_dup(values[i]), values[i].len };
    return m;
}

metric *metric_get(metric_family *family, const slice *values)
{
    uint64_t hash = values_hash(family, values);
    metric *m;

    (void)pthread_mutex_lock(&lock);
    map_node *node = map_find(&family->metrics, hash, same_values, values);
    if (node != NULL) {
        m = container_of(node, metric, node);
    } else {
        m = metric_new(family, values);
        map_add(&family->metrics, &m->node, hash);
    }
    (void)pthread_mutex_unlock(&lock);
    return m;
}

void metric_drop(metric_family *family, metric *m)
{
    (void)pthread_mutex_lock(&lock);
    map_remove(&family->metrics, &m->node);
    (void)pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < family->label_count; i++) free((char *)(uintptr_t)m->value[i].ptr);
    free(m);
}

/* ---- counting ------------------------------------------------------------------ */

void metric_add(metric *m, int64_t n)
{
    (void)atomic_fetch_add_explicit(&m->number, n, memory_order_relaxed);
}

void metric_set(metric *m, int64_t n)
{
    atomic_store_explicit(&m->number, n, memory_order_relaxed);
}

int64_t metric_value(const metric *m)
{
    return atomic_load_explicit(&m->number, memory_order_relaxed);
}

void metric_observe(metric *m, double seconds)
{
    size_t i = 0;

    if (!(seconds > 0)) seconds = 0;     /* a clock that went back; not a number */
    if (seconds > 1e9) seconds = 1e9;    /* the sum's nanoseconds stay in range */
    while (i < countof(bounds) && seconds > bounds[i].most) i++;
    (void)atomic_fetch_add_explicit(&m->bucket[i], 1, memory_order_relaxed);
    metric_add(m, (int64_t)(seconds * 1e9));
}

/* ---- the text -------------------------------------------------------------------- */

static void put_escaped(buf *out, slice text, bool quotes)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (c == '\\' || c == '\n' || (c == '"' && quotes)) buf_putc(out, '\\');
        buf_putc(out, c == '\n' ? 'n' : c);
    }
}

/* `name_suffix{label="value",le="…"} `; `le` NULL: without it. */
static void put_name(buf *out, const metric *m, const char *suffix, const char *le)
{
    const metric_family *f = m->family;
    char before = '{';

    buf_puts(out, f->name);
    buf_puts(out, suffix);
    for (size_t i = 0; i < f->label_count; i++, before = ',') {
        buf_putc(out, before);
        buf_put(out, f->label[i]);
        buf_puts(out, "=\"");
        put_escaped(out, m->value[i], true);
        buf_putc(out, '"');
    }
    if (le != NULL) {
        buf_printf(out, "%cle=\"%s\"", before, le);
        before = ',';
    }
    buf_puts(out, before == '{' ? " " : "} ");
}

static void put_histogram(buf *out, const metric *m)
{
    int64_t count = 0, sum = metric_value(m);

    for (size_t i = 0; i < BUCKETS; i++) {
        count += (int64_t)atomic_load_explicit(&m->bucket[i], memory_order_relaxed);
        put_name(out, m, "_bucket", i < countof(bounds) ? bounds[i].text : "+Inf");
        buf_int(out, count);
        buf_putc(out, '\n');
    }
    put_name(out, m, "_sum", NULL);
    buf_printf(out, "%lld.%09lld\n", (long long)(sum / 1000000000), (long long)(sum % 1000000000));
    put_name(out, m, "_count", NULL);
    buf_int(out, count);
    buf_putc(out, '\n');
}

static void put_metric(buf *out, const metric *m)
{
    if (m->family->kind == METRIC_HISTOGRAM) {
        put_histogram(out, m);
        return;
    }
    put_name(out, m, "", NULL);
    buf_int(out, metric_value(m));
    buf_putc(out, '\n');
}

static int by_values(const void *a, const void *b)
{
    const metric *x = *(const metric *const *)a, *y = *(const metric *const *)b;

    for (size_t i = 0; i < x->family->label_count; i++) {
        int order = slice_cmp(x->value[i], y->value[i]);
        if (order != 0) return order;
    }
    return 0;
}

static void collect(map_node *node, void *arg)
{
    metric ***at = arg;
    *(*at)++ = container_of(node, metric, node);
}

static void put_family(buf *out, metric_family *f)
{
    size_t n = f->metrics.count;
    metric **all, **at;

    if (n == 0) return;
    at = all = mem_alloc(n * sizeof(metric *));
    map_each(&f->metrics, collect, &at);
    qsort(all, n, sizeof(metric *), by_values);
    buf_printf(out, "# HELP %s ", f->name);
    put_escaped(out, slice_of(f->help), false);
    buf_printf(out, "\n# TYPE %s %s\n", f->name, kind_names[f->kind]);
    for (size_t i = 0; i < n; i++) put_metric(out, all[i]);
    free(all);
}

void metric_render(buf *out)
{
    (void)pthread_mutex_lock(&lock);
    list_each(it, &families) put_family(out, container_of(it, metric_family, link));
    (void)pthread_mutex_unlock(&lock);
}

/* base/metric.h -- counters, gauges and histograms, shown as Prometheus text.
 *
 * A family is made once at start; a metric of it is found by its label values
 * and kept by who counts. Counting is one relaxed atomic add: any thread.
 * Labels hold configured names only, never what came in a message. */
#ifndef BASE_METRIC_H
#define BASE_METRIC_H

#include "base/buf.h"

typedef enum metric_kind { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM } metric_kind;
typedef struct metric_family metric_family;
typedef struct metric metric;

#define METRIC_LABELS 4

/* `labels` is a comma list of at most METRIC_LABELS names, "" for none.
 * Asking again for the same name gives the same family. Never NULL. */
metric_family *metric_family_get(metric_kind kind, const char *name, const char *help,
                                 const char *labels);

/* The metric with these label values, made if missing; `values` has as many as
 * the family has labels. Valid until metric_drop. */
metric *metric_get(metric_family *family, const slice *values);

/* Forgets a metric whose subject is gone (a removed connector). */
void metric_drop(metric_family *family, metric *m);

void metric_add(metric *m, int64_t n);           /* counter, gauge */
void metric_set(metric *m, int64_t n);           /* gauge */
int64_t metric_value(const metric *m);
/* Histogram, in seconds; buckets from 100 µs to 100 s in steps of 1, 2.5, 5. */
void metric_observe(metric *m, double seconds);

/* Appends the whole exposition (text format 0.0.4). */
void metric_render(buf *out);

#endif

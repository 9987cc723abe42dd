/* script/csv.h -- comma-separated values (RFC 4180), a record at a time. */
#ifndef SCRIPT_CSV_H
#define SCRIPT_CSV_H

#include "base/arena.h"

#define CSV_FIELDS_MAX 64

typedef struct csv {
    slice  rest;
    size_t line;                         /* of the record that was read last, from 1 */
    size_t next_line;
} csv;

void csv_open(csv *c, slice text);       /* steps over a byte order mark */

/* The next record that is not a blank line; fields are borrowed from the text, or
 * in `mem` where they were quoted with quotes inside. `*count` is 0 at the end. */
must_check err csv_next(csv *c, arena *mem, slice fields[CSV_FIELDS_MAX], size_t *count, err_info *why);

#endif

/* store/result.h -- rows that came back, as slices. Hides libpq from other folders. */
#ifndef STORE_RESULT_H
#define STORE_RESULT_H

#include "base/base.h"

typedef struct pg_result { void *pg; } pg_result;        /* a PGresult; borrowed */

int pg_rows(const pg_result *r);
slice pg_cell(const pg_result *r, int row, int column);  /* text; SLICE_NONE for NULL */
int64_t pg_cell_int(const pg_result *r, int row, int column);    /* 0 for NULL */
bool pg_cell_bool(const pg_result *r, int row, int column);
int64_t pg_affected(const pg_result *r);         /* rows of an INSERT, UPDATE, DELETE */

#endif

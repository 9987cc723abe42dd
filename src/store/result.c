/* store/result.c -- a PGresult read as slices. */
#include "store/result.h"

#include <libpq-fe.h>

int pg_rows(const pg_result *r) { return r->pg == NULL ? 0 : PQntuples(r->pg); }

slice pg_cell(const pg_result *r, int row, int column)
{
    if (r->pg == NULL || PQgetisnull(r->pg, row, column)) return SLICE_NONE;
    return (slice){ PQgetvalue(r->pg, row, column), (size_t)PQgetlength(r->pg, row, column) };
}

int64_t pg_cell_int(const pg_result *r, int row, int column)
{
    int64_t n = 0;
    return slice_int(pg_cell(r, row, column), &n) ? n : 0;
}

bool pg_cell_bool(const pg_result *r, int row, int column)
{
    return slice_is(pg_cell(r, row, column), "t");
}

int64_t pg_affected(const pg_result *r)
{
    int64_t n = 0;
    return r->pg != NULL && slice_int(slice_of(PQcmdTuples(r->pg)), &n) ? n : 0;
}

/* store/rows.h -- what the files of the aggregates share: rows as JSON for people
 * and programs (camelCase, data model section 2), and pieces of SQL. */
#ifndef STORE_ROWS_H
#define STORE_ROWS_H

#include "base/buf.h"
#include "store/db.h"

/* A timestamptz column as "2026-04-18T09:30:00.123456Z". */
#define SQL_TIME(column) "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* A text[] column as a JSON array, and a parameter that is one as text[]. */
#define SQL_LIST(column) "to_json(" column ")::text"
#define SQL_LIST_OF(param) "ARRAY(SELECT jsonb_array_elements_text(" param "::jsonb))"

/* One JSON object, member after member; an absent value (NULL pointer) leaves its
 * member out. */
void row_begin(buf *out);
void row_text(buf *out, const char *key, slice value);
void row_int(buf *out, const char *key, int64_t value);
void row_bool(buf *out, const char *key, bool value);
void row_json(buf *out, const char *key, slice json);        /* as it is */
void row_end(buf *out);

/* A cell, copied into `mem`. */
slice row_cell(arena *mem, const pg_result *r, int row, int column);

/* A number as a parameter, in `mem`. */
slice row_param(arena *mem, int64_t value);

#endif

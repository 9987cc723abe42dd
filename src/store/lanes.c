/* store/lanes.c -- what is open, by key. */
#include "store/lanes.h"

#define KEYS(row) "unnest(CASE WHEN " row ".lane_keys = '{}' THEN '{\"\"}'::text[] ELSE " row ".lane_keys END) AS k (key)"
#define HEAD(column) "(array_agg(o." column " ORDER BY o.seq))[1]"

/* The conditions on status are those of the partial indexes. */
static const char list_sql[] =
    "WITH open AS ("
    " SELECT m.connector_id, 'transform' AS stage, NULL AS url, k.key, m.id, m.seq, m.processing_status AS status,"
    "   m.attempt_count, m.error_detail, m.received_at AS since, m.next_attempt_at"
    "  FROM hl7_messages m, " KEYS("m")
    "  WHERE m.processing_status IN ('pending', 'processing', 'failed') AND m.transformed_at IS NULL"
    " UNION ALL"
    " SELECT d.connector_id, 'deliver', d.service_url, k.key, d.message_id, d.seq, d.status,"
    "   d.attempt_count, d.error_detail, d.created_at, d.next_attempt_at"
    "  FROM hl7_deliveries d, " KEYS("d")
    "  WHERE d.status IN ('pending', 'failed'))"
    " SELECT c.name, o.stage, o.url, o.key, " HEAD("id") ", " HEAD("status") ", " HEAD("error_detail") ", "
    HEAD("attempt_count") ", count(*) - 1, " SQL_TIME(HEAD("since")) ", " SQL_TIME(HEAD("next_attempt_at"))
    " FROM open o JOIN interop_connectors c ON c.id = o.connector_id"
    " WHERE $1::text IS NULL OR c.id = $1 OR c.name = $1"
    " GROUP BY c.name, o.stage, o.url, o.key"
    " HAVING NOT $2::boolean OR " HEAD("status") " = 'failed'"
    " ORDER BY " HEAD("since") ", c.name, o.key LIMIT $3::bigint";

err lanes_list(db *d, arena *mem, slice connector, bool held, int64_t limit, lane_row **out, size_t *count, err_info *why)
{
    slice params[] = { connector, held ? slice_lit("true") : slice_lit("false"), row_param(mem, limit) };
    pg_result r;
    err e = db_exec(d, list_sql, params, (int)countof(params), &r, why);

    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, lane_row, *count + 1);
    for (int i = 0; i < (int)*count; i++) {
        (*out)[i] = (lane_row){
            .connector_name = row_cell(mem, &r, i, 0), .stage = row_cell(mem, &r, i, 1), .service_url = row_cell(mem, &r, i, 2),
            .key = row_cell(mem, &r, i, 3), .message_id = row_cell(mem, &r, i, 4), .status = row_cell(mem, &r, i, 5),
            .error_detail = row_cell(mem, &r, i, 6), .attempt_count = pg_cell_int(&r, i, 7), .waiting = pg_cell_int(&r, i, 8),
            .since = row_cell(mem, &r, i, 9), .next_attempt_at = row_cell(mem, &r, i, 10),
        };
    }
    return ERR_OK;
}

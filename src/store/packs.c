/* store/packs.c -- the SQL of script_packs. */
#include "store/packs.h"

#include "store/events.h"

void pack_json(buf *out, const pack_row *p)
{
    row_begin(out);
    row_text(out, "tenantId", p->tenant_id);
    row_text(out, "digest", p->digest);
    row_text(out, "name", p->name);
    row_text(out, "version", p->version);
    row_int(out, "bytes", p->bytes);
    row_json(out, "connectors", p->connectors);
    row_text(out, "createdAt", p->created_at);
    row_end(out);
}

err packs_push(db *d, slice tenant, slice digest, slice name, slice version, slice archive, bool *added, err_info *why)
{
    slice params[] = { tenant, digest, name, version, archive };
    buf aggregate = buf_in(NULL), data = buf_in(NULL);
    pg_result r;
    err e = db_exec(d, "INSERT INTO script_packs (tenant_id, digest, name, version, archive) VALUES ($1, $2, $3, $4, $5)"
                    " ON CONFLICT DO NOTHING", params, countof(params), &r, why);

    if (e != ERR_OK) return e;
    *added = pg_affected(&r) > 0;
    if (!*added) return ERR_OK;
    /* One digest may be many tenants', so the aggregate is named by both. */
    buf_put(&aggregate, tenant);
    buf_putc(&aggregate, '/');
    buf_put(&aggregate, digest);
    row_begin(&data);
    row_text(&data, "digest", digest);
    row_text(&data, "name", name);
    row_text(&data, "version", version);
    row_end(&data);
    e = event_add(d, tenant, buf_slice(&aggregate), 0, "pack.pushed", buf_slice(&data), why);
    buf_free(&aggregate);
    buf_free(&data);
    return e;
}

err packs_list(db *d, arena *mem, pack_row **out, size_t *count, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT p.tenant_id, p.digest, p.name, p.version, octet_length(p.archive),"
                    " (SELECT COALESCE(json_agg(c.name ORDER BY c.name), '[]') FROM interop_connectors c"
                    "   WHERE c.tenant_id = p.tenant_id AND c.pack_digest = p.digest)::text, " SQL_TIME("p.created_at")
                    " FROM script_packs p ORDER BY p.created_at DESC, p.digest", NULL, 0, &r, why);

    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, pack_row, *count + 1);
    for (size_t i = 0; i < *count; i++) {
        pack_row *p = &(*out)[i];
        int row = (int)i;
        *p = (pack_row){
            .tenant_id = row_cell(mem, &r, row, 0), .digest = row_cell(mem, &r, row, 1),
            .name = row_cell(mem, &r, row, 2), .version = row_cell(mem, &r, row, 3),
            .bytes = pg_cell_int(&r, row, 4), .connectors = row_cell(mem, &r, row, 5),
            .created_at = row_cell(mem, &r, row, 6),
        };
    }
    return ERR_OK;
}

err packs_archive(db *d, arena *mem, slice digest, slice *out, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT archive FROM script_packs WHERE digest = $1", &digest, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0)
        return err_set(why, ERR_NOT_FOUND, "the tenant has no pack %.*s: push it again", (int)digest.len, digest.ptr);
    *out = row_cell(mem, &r, 0, 0);
    return ERR_OK;
}

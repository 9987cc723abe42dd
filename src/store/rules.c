/* store/rules.c -- the SQL of fhir_routing_rules and fhir_services. */
#include "store/rules.h"

#include "base/ulid.h"
#include "store/events.h"

#define COLUMNS "r.id, r.resource_type, r.category, r.profile, r.service_url, r.fan_out, r.priority, r.active"

void rule_json(buf *out, const rule_row *r)
{
    row_begin(out);
    row_text(out, "id", r->id);
    row_text(out, "resourceType", r->resource_type);
    row_text(out, "category", r->category);
    row_text(out, "profile", r->profile);
    row_text(out, "serviceUrl", r->service_url);
    row_text(out, "serviceName", r->service_name);
    row_bool(out, "fanOut", r->fan_out);
    row_int(out, "priority", r->priority);
    row_bool(out, "active", r->active);
    row_end(out);
}

err rule_url(slice text, slice *out, slice *host, err_info *why)
{
    slice http = slice_lit("http://"), https = slice_lit("https://"), rest, path;

    while (text.len > 0 && text.ptr[text.len - 1] == '/') text.len--;
    if (slice_starts(text, http)) rest = slice_from(text, http.len);
    else if (slice_starts(text, https)) rest = slice_from(text, https.len);
    else return err_set(why, ERR_CONFIG, "a service's URL begins with http:// or https://");
    *out = text;
    *host = slice_cut(rest, '/', &path);
    if (host->len == 0) return err_set(why, ERR_CONFIG, "the URL names no host");
    if (memchr(host->ptr, '@', host->len) != NULL)
        return err_set(why, ERR_CONFIG, "a URL holds no user or password: they would stand in clear in the database");
    for (size_t i = 0; i < text.len; i++) {
        if ((unsigned char)text.ptr[i] <= ' ' || text.ptr[i] == 0x7f)
            return err_set(why, ERR_CONFIG, "the URL holds a blank or control character: percent-encode it");
        if (text.ptr[i] == '?' || text.ptr[i] == '#')
            return err_set(why, ERR_CONFIG, "a service's base URL has no query and no fragment");
    }
    return ERR_OK;
}

/* ---- services ------------------------------------------------------------------------ */

static err tell_service(db *d, const service_row *s, err_info *why)
{
    buf data = buf_in(NULL);
    err e;

    row_begin(&data);
    row_text(&data, "name", s->name);
    row_text(&data, "url", s->url);
    row_end(&data);
    if (s->tenant_id.ptr == NULL) e = event_add_platform(d, s->id, "service.configured", buf_slice(&data), why);
    else e = event_add(d, s->tenant_id, s->id, 0, "service.configured", buf_slice(&data), why);
    buf_free(&data);
    return e;
}

err services_put(db *d, arena *mem, service_row *s, err_info *why)
{
    id fresh = id_new(ID_SERVICE);
    slice url, host;
    pg_result r;
    err e = rule_url(s->url, &url, &host, why);

    if (e != ERR_OK) return e;
    slice params[] = {
        id_slice(&fresh), s->tenant_id, s->name, url, slice_of(s->transactions ? "t" : "f"),
        row_param(mem, s->concurrency), s->ca_file, host,
    };
    /* Without a name: its host, with a number where another service has that. */
    e = db_exec(d, "INSERT INTO fhir_services AS f (id, tenant_id, name, url, transactions, concurrency, ca_file)"
                " VALUES ($1, $2, COALESCE($3, (SELECT n.name FROM"
                "   (SELECT $8 || CASE WHEN i = 1 THEN '' ELSE '-' || i END AS name, i FROM generate_series(1, 1000) i) n"
                "   WHERE NOT EXISTS (SELECT FROM fhir_services o WHERE o.name = n.name"
                "                     AND COALESCE(o.tenant_id, '') = COALESCE($2, '')) ORDER BY n.i LIMIT 1)),"
                "  $4, $5::boolean, $6::integer, $7)"
                " ON CONFLICT (COALESCE(tenant_id, ''), url) DO UPDATE SET name = COALESCE($3, f.name),"
                "  transactions = EXCLUDED.transactions, concurrency = EXCLUDED.concurrency, ca_file = EXCLUDED.ca_file"
                " RETURNING id, name", params, countof(params), &r, why);
    if (e == ERR_CONFLICT)
        return err_set(why, e, "another service has the name \"%.*s\": give this one another",
                       (int)s->name.len, s->name.ptr == NULL ? "" : s->name.ptr);
    if (e != ERR_OK) return e;
    s->id = row_cell(mem, &r, 0, 0);
    s->name = row_cell(mem, &r, 0, 1);
    s->url = url;
    return tell_service(d, s, why);
}

/* ---- rules --------------------------------------------------------------------------- */

static void read_row(arena *mem, const pg_result *r, int i, rule_row *out)
{
    out->id = row_cell(mem, r, i, 0);
    out->resource_type = row_cell(mem, r, i, 1);
    out->category = row_cell(mem, r, i, 2);
    out->profile = row_cell(mem, r, i, 3);
    out->service_url = row_cell(mem, r, i, 4);
    out->fan_out = pg_cell_bool(r, i, 5);
    out->priority = pg_cell_int(r, i, 6);
    out->active = pg_cell_bool(r, i, 7);
    out->service_name = row_cell(mem, r, i, 8);
}

static err tell_rule(db *d, const rule_row *r, const char *event, err_info *why)
{
    buf data = buf_in(NULL);
    err e;

    rule_json(&data, r);
    e = event_add_platform(d, r->id, event, buf_slice(&data), why);
    buf_free(&data);
    return e;
}

static err name_rival(db *d, const rule_row *r, err_info *why)
{
    slice params[] = { r->resource_type, r->category, r->profile };
    pg_result rows;
    err e = db_exec(d, "SELECT id, service_url FROM fhir_routing_rules WHERE active AND resource_type = $1"
                    " AND COALESCE(category, '') = COALESCE($2, '') AND COALESCE(profile, '') = COALESCE($3, '')",
                    params, countof(params), &rows, why);

    if (e != ERR_OK || pg_rows(&rows) == 0) return e;
    return err_set(why, ERR_CONFLICT, "rule %.*s stands for the same type, category and profile (to %.*s): "
                   "take it out first with `interop rule deactivate`",
                   (int)pg_cell(&rows, 0, 0).len, pg_cell(&rows, 0, 0).ptr,
                   (int)pg_cell(&rows, 0, 1).len, pg_cell(&rows, 0, 1).ptr);
}

err rules_add(db *d, arena *mem, rule_row *r, err_info *why)
{
    id fresh = id_new(ID_RULE);
    slice url = SLICE_NONE, host;
    err e = rule_url(r->service_url, &url, &host, why);

    if (e == ERR_OK) e = name_rival(d, r, why);
    if (e != ERR_OK) return e;
    r->id = arena_dup(mem, id_slice(&fresh));
    r->service_url = url;
    r->active = true;
    slice params[] = {
        r->id, r->resource_type, r->category, r->profile, url, slice_of(r->fan_out ? "t" : "f"),
        row_param(mem, r->priority),
    };
    e = db_exec(d, "INSERT INTO fhir_routing_rules (id, resource_type, category, profile, service_url, fan_out, priority)"
                " VALUES ($1, $2, $3, $4, $5, $6::boolean, $7::integer)", params, countof(params), NULL, why);
    return e == ERR_OK ? tell_rule(d, r, "rule.added", why) : e;
}

err rules_list(db *d, arena *mem, bool all, rule_row **out, size_t *count, err_info *why)
{
    slice every = slice_of(all ? "t" : "f");
    pg_result r;
    err e = db_exec(d, "SELECT " COLUMNS ", (SELECT s.name FROM fhir_services s WHERE s.url = r.service_url"
                    "   ORDER BY s.tenant_id NULLS FIRST LIMIT 1)"
                    " FROM fhir_routing_rules r WHERE r.active OR $1::boolean"
                    " ORDER BY r.active DESC, r.resource_type = '*', r.resource_type,"
                    "  r.profile IS NULL, r.category IS NULL, r.priority DESC, r.id", &every, 1, &r, why);

    if (e != ERR_OK) return e;
    *count = (size_t)pg_rows(&r);
    *out = arena_array(mem, rule_row, *count + 1);
    for (size_t i = 0; i < *count; i++) read_row(mem, &r, (int)i, &(*out)[i]);
    return ERR_OK;
}

err rules_deactivate(db *d, slice rule_id, err_info *why)
{
    rule_row rule = { .active = false };
    arena mem;
    pg_result r;
    err e = db_exec(d, "UPDATE fhir_routing_rules r SET active = FALSE WHERE r.id = $1 AND r.active"
                    " RETURNING " COLUMNS ", NULL", &rule_id, 1, &r, why);

    if (e != ERR_OK) return e;
    if (pg_rows(&r) == 0)
        return err_set(why, ERR_NOT_FOUND, "there is no active rule %.*s: see `interop rule list`",
                       (int)rule_id.len, rule_id.ptr);
    arena_init(&mem);
    read_row(&mem, &r, 0, &rule);
    e = tell_rule(d, &rule, "rule.deactivated", why);
    arena_free(&mem);
    return e;
}

/* engine/routes.c -- rules sorted once, so that the first match is the right one. */
#include "engine/routes.h"

#include <stdlib.h>

#include "fhir/resource.h"
#include "store/feed.h"

static int specificity(const routing_rule *r)
{
    return (r->profile.len > 0 ? 4 : 0) + (r->category.len > 0 ? 2 : 0) + (slice_is(r->resource_type, "*") ? 0 : 1);
}

static int by_precedence(const void *left, const void *right)
{
    const routing_rule *a = left, *b = right;
    int order = specificity(b) - specificity(a);

    if (order == 0) order = (a->priority < b->priority) - (a->priority > b->priority);
    return order != 0 ? order : slice_cmp(a->id, b->id);
}

/* "{tenant}" stands for the tenant; a slash at the end is left out. */
static slice fill_in(arena *mem, slice url, slice tenant)
{
    static const slice mark = slice_lit("{tenant}");
    buf out = buf_in(mem);

    for (size_t i = 0; i < url.len;) {
        if (slice_starts(slice_from(url, i), mark)) {
            buf_put(&out, tenant);
            i += mark.len;
        } else {
            buf_putc(&out, url.ptr[i++]);
        }
    }
    while (out.len > 0 && out.ptr[out.len - 1] == '/') out.len--;
    return buf_slice(&out);
}

routes *routes_new(slice tenant, const pg_result *services, const pg_result *rules)
{
    routes *r = mem_zalloc(sizeof *r);
    arena *mem = &r->mem;

    atomic_init(&r->count, 1);
    r->service_count = pg_rows(services);
    r->rule_count = pg_rows(rules);
    r->services = arena_array(mem, service, (size_t)r->service_count + 1);
    r->rules = arena_array(mem, routing_rule, (size_t)r->rule_count + 1);
    for (int i = 0; i < r->service_count; i++) {
        slice ca = pg_cell(services, i, SVC_CA);
        r->services[i] = (service){
            .id = arena_dup(mem, pg_cell(services, i, SVC_ID)),
            .name = arena_dup(mem, pg_cell(services, i, SVC_NAME)),
            .url = fill_in(mem, pg_cell(services, i, SVC_URL), tenant),
            .transactions = pg_cell_bool(services, i, SVC_TRANSACTIONS),
            .concurrency = (int)pg_cell_int(services, i, SVC_CONCURRENCY),
            .ca = ca.ptr == NULL ? NULL : arena_cstr(mem, ca),
        };
    }
    for (int i = 0; i < r->rule_count; i++) {
        slice url = fill_in(mem, pg_cell(rules, i, RULE_URL), tenant);
        r->rules[i] = (routing_rule){
            .id = arena_dup(mem, pg_cell(rules, i, RULE_ID)),
            .resource_type = arena_dup(mem, pg_cell(rules, i, RULE_TYPE)),
            .category = arena_dup(mem, pg_cell(rules, i, RULE_CATEGORY)),
            .profile = arena_dup(mem, pg_cell(rules, i, RULE_PROFILE)),
            .priority = pg_cell_int(rules, i, RULE_PRIORITY),
            .to = routes_service_at(r, url),
        };
    }
    if (r->rule_count > 0) qsort(r->rules, (size_t)r->rule_count, sizeof *r->rules, by_precedence);
    return r;
}

routes *routes_keep(routes *r)
{
    (void)atomic_fetch_add_explicit(&r->count, 1, memory_order_relaxed);
    return r;
}

void routes_drop(routes *r)
{
    if (r == NULL || atomic_fetch_sub_explicit(&r->count, 1, memory_order_acq_rel) > 1) return;
    arena_free(&r->mem);
    free(r);
}

static bool category_matches(slice wanted, const fhir_tokens *have)
{
    slice code, system = slice_cut(wanted, '|', &code);

    for (size_t i = 0; i < have->count; i++) {
        if (code.ptr == NULL ? slice_eq(have->at[i].code, wanted)
                             : slice_eq(have->at[i].code, code) && slice_eq(have->at[i].system, system)) return true;
    }
    return false;
}

const routing_rule *routes_find(const routes *r, arena *mem, const json *resource)
{
    slice type = fhir_type(resource);
    fhir_tokens categories = { NULL, 0 };
    bool asked = false;

    for (int i = 0; i < r->rule_count; i++) {
        const routing_rule *rule = &r->rules[i];
        if (!slice_is(rule->resource_type, "*") && !slice_eq(rule->resource_type, type)) continue;
        if (rule->profile.len > 0 && !fhir_has_profile(resource, rule->profile)) continue;
        if (rule->category.len > 0) {
            if (!asked) categories = fhir_categories(mem, resource);
            asked = true;
            if (!category_matches(rule->category, &categories)) continue;
        }
        return rule;
    }
    return NULL;
}

const service *routes_service(const routes *r, slice name)
{
    for (int i = 0; i < r->service_count; i++)
        if (slice_eq(r->services[i].name, name)) return &r->services[i];
    return NULL;
}

const service *routes_service_at(const routes *r, slice url)
{
    for (int i = 0; i < r->service_count; i++)
        if (slice_eq(r->services[i].url, url)) return &r->services[i];
    return NULL;
}

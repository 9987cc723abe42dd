/* engine/plan.c -- groups resources by service in the order in which services first
 * appear, and finds references that cross from one service to another.
 *
 * One delivery a service is the rule. Where services need each other's answers, though no
 * resource does (a report here, its results there, their patient here again), a
 * service gets its resources in several steps, each a delivery. */
#include "engine/plan.h"

#include "fhir/resource.h"

static const slice urn = slice_lit("urn:uuid:");

static plan_delivery *delivery_for(arena *mem, plan *p, const service *to, slice rule_id, int most)
{
    plan_delivery *d;

    for (int i = 0; i < p->count; i++)
        if (slice_eq(p->deliveries[i].to->url, to->url)) return &p->deliveries[i];
    d = &p->deliveries[p->count++];
    d->to = to;
    d->rule_id = rule_id;
    d->entries = arena_array(mem, plan_entry, (size_t)most);
    return d;
}

static void put(plan_delivery *d, const script_resource *r, int from)
{
    int at = 0;

    while (at < d->entry_count && !slice_eq(d->entries[at].full_url, r->full_url)) at++;
    if (at == d->entry_count) d->entry_count++;          /* put twice: the later one counts */
    d->entries[at] = (plan_entry){
        .resource = r->resource, .full_url = r->full_url, .type = r->type,
        .if_none_exist = r->if_none_exist, .to = r->to, .owned = r->owned, .from = from
    };
}

static err place(arena *mem, const script_resource *r, int from, const routes *by, plan *p, int most, err_info *why)
{
    const service *to = NULL;
    slice rule_id = SLICE_NONE;

    if (r->to.len > 0) {
        to = routes_service(by, r->to);
        if (to == NULL)
            return err_set(why, ERR_REFUSED, "%.*s: the script names the service '%.*s', which this tenant does not reach",
                           (int)r->type.len, r->type.ptr, (int)r->to.len, r->to.ptr);
    } else {
        const routing_rule *rule = routes_find(by, mem, r->resource);
        if (rule == NULL)
            return err_set(why, ERR_REFUSED, "no active routing rule for %.*s: add one (interop rule add --type %.*s …)",
                           (int)r->type.len, r->type.ptr, (int)r->type.len, r->type.ptr);
        if (rule->to == NULL)
            return err_set(why, ERR_REFUSED, "%.*s: the service of rule %.*s is not one that this tenant reaches",
                           (int)r->type.len, r->type.ptr, (int)rule->id.len, rule->id.ptr);
        to = rule->to;
        rule_id = rule->id;
    }
    put(delivery_for(mem, p, to, rule_id, most), r, from);
    return ERR_OK;
}

typedef struct crossing { const plan *plan; int from; bool *needs; } crossing;

static void find_crossing(void *arg, slice element, json *reference)
{
    crossing *c = arg;
    int delivery, entry;

    (void)element;
    if (!slice_starts(reference->text, urn)) return;
    for (int i = 0; i < c->plan->deliveries[c->from].entry_count; i++)
        if (slice_eq(c->plan->deliveries[c->from].entries[i].full_url, reference->text)) return;
    if (plan_find(c->plan, reference->text, &delivery, &entry)) c->needs[delivery] = true;
}

static void find_needs(arena *mem, plan *p, int from)
{
    plan_delivery *d = &p->deliveries[from];
    crossing c = { p, from, arena_array(mem, bool, (size_t)p->count) };

    for (int i = 0; i < d->entry_count; i++) fhir_references(d->entries[i].resource, find_crossing, &c);
    d->needs = arena_array(mem, int, (size_t)p->count);
    for (int i = 0; i < p->count; i++)
        if (c.needs[i]) d->needs[d->need_count++] = i;
}

/* Services that wait for each other would wait for ever. */
static bool has_circle(arena *mem, const plan *p)
{
    bool *free_to_go = arena_array(mem, bool, (size_t)p->count);
    int left = p->count;

    for (bool moved = true; moved && left > 0;) {
        moved = false;
        for (int i = 0; i < p->count; i++) {
            bool go = !free_to_go[i];
            for (int k = 0; go && k < p->deliveries[i].need_count; k++)
                go = free_to_go[p->deliveries[i].needs[k]];
            if (!go) continue;
            free_to_go[i] = moved = true;
            left--;
        }
    }
    return left > 0;
}

/* ---- steps ------------------------------------------------------------------------ */

typedef struct stepping {
    const plan *plan;
    int       **step;                    /* of each entry of each delivery */
    int         delivery, entry;         /* whose references are walked */
    bool        moved;
} stepping;

/* What is referred to comes no later on the same service, and earlier on another. */
static void raise_step(void *arg, slice element, json *reference)
{
    stepping *s = arg;
    const plan_delivery *own = &s->plan->deliveries[s->delivery];
    int *mine = &s->step[s->delivery][s->entry], least = 0, delivery, entry;

    (void)element;
    if (!slice_starts(reference->text, urn)) return;
    for (int i = 0; i < own->entry_count; i++) {
        if (!slice_eq(own->entries[i].full_url, reference->text)) continue;
        least = s->step[s->delivery][i];
        if (*mine < least) { *mine = least; s->moved = true; }
        return;
    }
    if (!plan_find(s->plan, reference->text, &delivery, &entry)) return;
    least = s->step[delivery][entry] + 1;
    if (*mine < least) { *mine = least; s->moved = true; }
}

/* The step of every entry; false when resources themselves refer in a circle across services. */
static bool find_steps(arena *mem, const plan *p, int **step, int *most)
{
    stepping s = { .plan = p, .step = step, .moved = true };
    int total = 0;

    for (int i = 0; i < p->count; i++) {
        step[i] = arena_array(mem, int, (size_t)p->deliveries[i].entry_count);
        total += p->deliveries[i].entry_count;
    }
    for (*most = 0; s.moved && *most <= total;) {
        s.moved = false;
        for (s.delivery = 0; s.delivery < p->count; s.delivery++) {
            for (s.entry = 0; s.entry < p->deliveries[s.delivery].entry_count; s.entry++) {
                fhir_references(p->deliveries[s.delivery].entries[s.entry].resource, raise_step, &s);
                if (step[s.delivery][s.entry] > *most) *most = step[s.delivery][s.entry];
            }
        }
    }
    return !s.moved;
}

/* The same plan with a delivery for each step of each service, the earlier ones first. */
static bool split(arena *mem, plan *p)
{
    int **step = arena_array(mem, int *, (size_t)p->count), most, room = 0;
    plan made = { 0 };

    if (!find_steps(mem, p, step, &most)) return false;
    for (int i = 0; i < p->count; i++) room += p->deliveries[i].entry_count;
    made.deliveries = arena_array(mem, plan_delivery, (size_t)room + 1);     /* the next one is looked at too */
    for (int i = 0; i < p->count; i++) {
        const plan_delivery *whole = &p->deliveries[i];
        for (int n = 0; n <= most; n++) {
            plan_delivery *d = &made.deliveries[made.count];
            for (int k = 0; k < whole->entry_count; k++) {
                if (step[i][k] != n) continue;
                if (d->entry_count == 0) d->entries = arena_array(mem, plan_entry, (size_t)whole->entry_count);
                d->entries[d->entry_count++] = whole->entries[k];
            }
            if (d->entry_count == 0) continue;
            d->to = whole->to;
            d->rule_id = whole->rule_id;
            made.count++;
        }
    }
    *p = made;
    for (int i = 0; i < p->count; i++) find_needs(mem, p, i);
    return true;
}

err plan_make(arena *mem, const script_result *result, const routes *by, plan *out, err_info *why)
{
    int most = (int)result->resource_count, from = 0;

    *out = (plan){ 0 };
    if (most == 0) return ERR_OK;
    out->deliveries = arena_array(mem, plan_delivery, (size_t)most);
    for (const script_resource *r = result->resources; r != NULL; r = r->next) {
        err e = place(mem, r, from++, by, out, most, why);
        if (e != ERR_OK) return e;
    }
    if (out->count < 2) return ERR_OK;
    for (int i = 0; i < out->count; i++) find_needs(mem, out, i);
    if (has_circle(mem, out) && !split(mem, out))
        return err_set(why, ERR_REFUSED, "resources of this message refer to each other in a circle across services: "
                                         "route them to one service");
    return ERR_OK;
}

/* ---- as it was made then ------------------------------------------------------------- */

const int *plan_resources(arena *mem, const plan *p, int delivery)
{
    const plan_delivery *d = &p->deliveries[delivery];
    int *resources;

    if (p->count == 1) return NULL;
    resources = arena_array(mem, int, (size_t)d->entry_count);
    for (int i = 0; i < d->entry_count; i++) resources[i] = d->entries[i].from;
    return resources;
}

/* FNV-1a, which is the same in every process and release. */
static uint64_t fnv(uint64_t hash, slice s)
{
    for (size_t i = 0; i < s.len; i++) hash = (hash ^ (unsigned char)s.ptr[i]) * UINT64_C(0x100000001b3);
    return (hash ^ 0xff) * UINT64_C(0x100000001b3);      /* which no UTF-8 holds */
}

int64_t plan_shape(const plan_delivery *d)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (int i = 0; i < d->entry_count; i++) hash = fnv(fnv(hash, d->entries[i].type), d->entries[i].to);
    return (int64_t)hash;
}

static err changed(err_info *why)
{
    return err_set(why, ERR_CONFLICT, "mapping or routing changed while this delivery was open: replay the message");
}

/* By the routes of now, which have to place everything where it went then. */
static err remake_by_routes(arena *mem, const script_result *result, const routes *by, const plan_made *made, int count,
                            plan *out, err_info *why)
{
    err e = plan_make(mem, result, by, out, why);

    if (e != ERR_OK) return e;
    if (out->count != count) return changed(why);
    for (int i = 0; i < count; i++)
        if (!slice_eq(out->deliveries[i].to->url, made[i].service_url)) return changed(why);
    return ERR_OK;
}

/* `all`: the script's resources. */
static err put_made(arena *mem, const script_resource *const *all, int count, const plan_made *made, plan_delivery *d, err_info *why)
{
    int most = made->resources == NULL || made->resource_count > count ? count : made->resource_count;

    d->entries = arena_array(mem, plan_entry, (size_t)most);
    for (int i = 0; i < most; i++) {
        int from = made->resources == NULL ? i : made->resources[i];
        if (from < 0 || from >= count) return changed(why);
        put(d, all[from], from);
    }
    return plan_shape(d) == made->shape ? ERR_OK : changed(why);
}

static void find_service(arena *mem, const routes *by, slice url, plan_delivery *d)
{
    const service *named = d->entry_count > 0 ? routes_service(by, d->entries[0].to) : NULL;
    service *gone;

    d->to = named != NULL && slice_eq(named->url, url) ? named : routes_service_at(by, url);
    d->gone = d->to == NULL;
    if (!d->gone) return;
    gone = arena_new(mem, service);
    gone->url = url;
    d->to = gone;
}

/* The one that was put last is never replaced by a later one. */
static bool has_last(const plan *p, int count)
{
    for (int i = 0; i < p->count; i++)
        for (int k = 0; k < p->deliveries[i].entry_count; k++)
            if (p->deliveries[i].entries[k].from == count - 1) return true;
    return false;
}

err plan_remake(arena *mem, const script_result *result, const routes *by, const plan_made *made, int count, plan *out,
                err_info *why)
{
    int most = (int)result->resource_count, n = 0;
    const script_resource **all = arena_array(mem, const script_resource *, (size_t)most);

    for (int i = 0; i < count; i++)
        if (!made[i].known) return remake_by_routes(mem, result, by, made, count, out, why);
    for (const script_resource *r = result->resources; r != NULL; r = r->next) all[n++] = r;
    *out = (plan){ .deliveries = arena_array(mem, plan_delivery, (size_t)count), .count = count };
    for (int i = 0; i < count; i++) {
        err e = put_made(mem, all, most, &made[i], &out->deliveries[i], why);
        if (e != ERR_OK) return e;
        find_service(mem, by, made[i].service_url, &out->deliveries[i]);
    }
    if (!has_last(out, most)) return changed(why);       /* it gives more than then */
    for (int i = 0; count > 1 && i < count; i++) find_needs(mem, out, i);
    return ERR_OK;
}

bool plan_find(const plan *p, slice full_url, int *delivery, int *entry)
{
    for (int i = 0; i < p->count; i++) {
        for (int k = 0; k < p->deliveries[i].entry_count; k++) {
            if (!slice_eq(p->deliveries[i].entries[k].full_url, full_url)) continue;
            *delivery = i;
            *entry = k;
            return true;
        }
    }
    return false;
}

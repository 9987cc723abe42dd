/* fhir/merge.c -- element by element: stays, is replaced, or goes. */
#include "fhir/merge.h"

#include "fhir/r4.h"
#include "fhir/resource.h"

/* Without the underscore of a primitive's extensions. */
static slice without_mark(slice key)
{
    return key.len > 1 && key.ptr[0] == '_' ? slice_from(key, 1) : key;
}

/* The element that a member belongs to: "birthDate" for `_birthDate`, "deceased" for
 * `deceasedBoolean`. */
static slice element_of(const r4_type *type, slice key, bool *choice)
{
    r4_element e;

    *choice = false;
    if (type != NULL && r4_element_find(type, key, &e)) {
        *choice = e.kind == R4_CHOICE;
        return e.name;
    }
    return without_mark(key);
}

/* Two forms of a choice begin alike and go on with a capital letter: all other pairs are told
 * apart without asking R4, which is slow. */
static bool may_be_choice(slice a, slice b)
{
    size_t n = 0;

    while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n]) n++;
    for (; n > 0; n--)
        if (n < a.len && n < b.len && a.ptr[n] >= 'A' && a.ptr[n] <= 'Z' && b.ptr[n] >= 'A' && b.ptr[n] <= 'Z') return true;
    return false;
}

static bool same_element(const r4_type *type, slice a, slice b)
{
    bool a_choice, b_choice;
    slice a_plain = without_mark(a), b_plain = without_mark(b);
    if (slice_eq(a_plain, b_plain)) return true;
    if (!may_be_choice(a_plain, b_plain)) return false;
    slice a_name = element_of(type, a, &a_choice), b_name = element_of(type, b, &b_choice);
    return a_choice == b_choice && slice_eq(a_name, b_name);
}

static bool is_kept(slice key)
{
    return slice_is(key, "resourceType") || slice_is(key, "id") || slice_is(key, "meta");
}

/* The first member of `object` that belongs to the element of `key`. */
static json *first_of(const r4_type *type, const json *object, slice key)
{
    for (json *m = object->child; m != NULL; m = m->next) {
        if (!is_kept(m->key) && same_element(type, m->key, key)) return m;
    }
    return NULL;
}

/* Adds what `from[name]` has and `to[name]` lacks: profiles are strings, tags are Codings,
 * the same when system and code are. */
static void add_missing(arena *mem, json *to, const json *from, const char *name)
{
    const json *wanted = json_get(from, name);
    json *held = json_get(to, name);

    if (!json_is(wanted, JSON_ARRAY)) return;
    for (const json *w = wanted->child; w != NULL; w = w->next) {
        bool there = false;
        for (const json *h = json_is(held, JSON_ARRAY) ? held->child : NULL; h != NULL && !there; h = h->next) {
            there = w->type == JSON_OBJECT
                        ? slice_eq(json_text(h, "system"), json_text(w, "system")) &&
                          slice_eq(json_text(h, "code"), json_text(w, "code"))
                        : fhir_same(h, w);
        }
        if (there) continue;
        if (!json_is(held, JSON_ARRAY)) {
            held = json_new(mem, JSON_ARRAY);
            json_set(to, arena_dup(mem, slice_of(name)), held);
        }
        json_push(held, json_copy(mem, w));
    }
}

static void merge_meta(arena *mem, json *result, const json *update)
{
    const json *from = json_get(update, "meta");
    json *held = json_get(result, "meta"), *meta = held;

    if (!json_is(from, JSON_OBJECT)) return;
    if (!json_is(meta, JSON_OBJECT)) meta = json_new(mem, JSON_OBJECT);
    add_missing(mem, meta, from, "profile");
    add_missing(mem, meta, from, "tag");
    if (meta != held && meta->count > 0) json_set(result, slice_lit("meta"), meta);
}

/* A member as it goes into a new resource. */
static void put(arena *mem, json *result, const json *member)
{
    json_set(result, arena_dup(mem, member->key), json_copy(mem, member));
}

json *fhir_merge(arena *mem, const json *held, const json *update, bool *changed)
{
    const r4_type *type = r4_type_find(fhir_type(held));
    json *result = json_new(mem, JSON_OBJECT);

    /* In the order of what is held; a replaced element stands where its first member stood. */
    for (const json *h = held->child; h != NULL; h = h->next) {
        if (is_kept(h->key) || first_of(type, update, h->key) == NULL) {
            put(mem, result, h);
        } else if (first_of(type, held, h->key) == h) {
            for (const json *u = update->child; u != NULL; u = u->next) {
                if (u->type != JSON_NULL && !is_kept(u->key) && same_element(type, u->key, h->key))
                    put(mem, result, u);
            }
        }
    }
    for (const json *u = update->child; u != NULL; u = u->next) {
        if (u->type != JSON_NULL && !is_kept(u->key) && first_of(type, held, u->key) == NULL)
            put(mem, result, u);
    }
    merge_meta(mem, result, update);
    *changed = !fhir_same(held, result);
    return result;
}

json *fhir_without_nulls(arena *mem, json *resource)
{
    json *result, *m = resource->child;

    while (m != NULL && m->type != JSON_NULL) m = m->next;
    if (m == NULL) return resource;
    result = json_new(mem, JSON_OBJECT);
    for (m = resource->child; m != NULL; m = m->next) {
        if (m->type != JSON_NULL) put(mem, result, m);
    }
    return result;
}

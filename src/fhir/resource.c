/* fhir/resource.c -- identifiers, codings, references: found without knowing the type. */
#include "fhir/resource.h"

#include "fhir/r4.h"

bool fhir_type_known(slice type)
{
    return r4_type_find(type) != NULL;
}

bool fhir_id_valid(slice id)
{
    if (id.len == 0 || id.len > 64) return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
              c == '-' || c == '.'))
            return false;
    }
    return true;
}

slice fhir_type(const json *resource) { return json_text(resource, "resourceType"); }
slice fhir_id(const json *resource) { return json_text(resource, "id"); }

/* ---- tokens --------------------------------------------------------------- */

typedef struct token_list { arena *mem; fhir_tokens found; size_t room; } token_list;

static void token_add(token_list *l, slice system, slice code)
{
    if (l->found.count == l->room) {
        size_t room = l->room == 0 ? 4 : l->room * 2;
        fhir_token *at = arena_array(l->mem, fhir_token, room);
        if (l->found.count > 0) memcpy(at, l->found.at, l->found.count * sizeof *at);
        l->found.at = at;
        l->room = room;
    }
    l->found.at[l->found.count++] = (fhir_token){ system, code };
}

/* The first of the one or several values that an element holds; walk by ->next, which
 * is meaningful for arrays only. */
static const json *values_of(const json *element, bool *many)
{
    *many = json_is(element, JSON_ARRAY);
    return *many ? element->child : element;
}

fhir_tokens fhir_identifiers(arena *mem, const json *resource)
{
    token_list l = { .mem = mem };
    bool many;

    for (const json *v = values_of(json_get(resource, "identifier"), &many); v != NULL;
         v = many ? v->next : NULL) {
        slice value = json_text(v, "value");
        if (value.len > 0) token_add(&l, json_text(v, "system"), value);
    }
    return l.found;
}

static void add_coding(token_list *l, const json *coding)
{
    slice code = json_text(coding, "code");
    if (code.len > 0) token_add(l, json_text(coding, "system"), code);
}

fhir_tokens fhir_codings(arena *mem, const json *resource, const char *name)
{
    token_list l = { .mem = mem };
    bool many;

    for (const json *v = values_of(json_get(resource, name), &many); v != NULL;
         v = many ? v->next : NULL) {
        const json *codings = json_get(v, "coding");
        if (json_is(codings, JSON_ARRAY)) {
            for (const json *c = codings->child; c != NULL; c = c->next) add_coding(&l, c);
        } else {
            add_coding(&l, v);
        }
    }
    return l.found;
}

fhir_tokens fhir_categories(arena *mem, const json *resource)
{
    return fhir_codings(mem, resource, "category");
}

bool fhir_has_profile(const json *resource, slice profile)
{
    const json *profiles = json_get(json_get(resource, "meta"), "profile");

    if (!json_is(profiles, JSON_ARRAY)) return false;
    for (const json *p = profiles->child; p != NULL; p = p->next) {
        slice version;
        if (p->type != JSON_STRING) continue;
        if (slice_eq(p->text, profile) || slice_eq(slice_cut(p->text, '|', &version), profile)) return true;
    }
    return false;
}

/* ---- references ----------------------------------------------------------- */

static void walk_references(json *v, slice element, fhir_reference_each each, void *arg)
{
    for (json *m = v->child; m != NULL; m = m->next) {
        if (m->type == JSON_STRING) {
            if (v->type == JSON_OBJECT && slice_is(m->key, "reference")) each(arg, element, m);
        } else if (m->type == JSON_ARRAY || m->type == JSON_OBJECT) {
            walk_references(m, v->type == JSON_OBJECT ? m->key : element, each, arg);
        }
    }
}

void fhir_references(json *resource, fhir_reference_each each, void *arg)
{
    walk_references(resource, SLICE_NONE, each, arg);
}

/* Cuts the last path segment off `path`; SLICE_NONE when there is none. */
static slice last_segment(slice *path)
{
    size_t at = path->len;
    slice segment;

    if (path->ptr == NULL) return SLICE_NONE;
    while (at > 0 && path->ptr[at - 1] != '/') at--;
    segment = slice_from(*path, at);
    *path = at == 0 ? SLICE_NONE : (slice){ path->ptr, at - 1 };
    return segment;
}

bool fhir_reference_parse(slice reference, fhir_target *out)
{
    slice rest = reference, id = last_segment(&rest), type = last_segment(&rest);

    *out = (fhir_target){ 0 };
    if (slice_is(type, "_history")) {
        out->version = id;
        id = last_segment(&rest);
        type = last_segment(&rest);
        if (!fhir_id_valid(out->version)) return false;
    }
    if (!fhir_id_valid(id) || !fhir_type_known(type)) return false;
    if (rest.ptr != NULL && !slice_starts(rest, slice_lit("http://")) &&
        !slice_starts(rest, slice_lit("https://")))
        return false;
    out->base = rest;
    out->type = type;
    out->id = id;
    return true;
}

/* ---- comparing ------------------------------------------------------------ */

static const json *member(const json *object, slice key, const json *guess)
{
    if (guess != NULL && slice_eq(guess->key, key)) return guess;   /* mostly the same order */
    for (const json *m = object->child; m != NULL; m = m->next) {
        if (slice_eq(m->key, key)) return m;
    }
    return NULL;
}

bool fhir_same(const json *a, const json *b)
{
    if (a->type != b->type || a->count != b->count) return false;
    if (a->type == JSON_NUMBER || a->type == JSON_STRING) return slice_eq(a->text, b->text);
    if (a->type == JSON_ARRAY) {
        for (a = a->child, b = b->child; a != NULL; a = a->next, b = b->next) {
            if (!fhir_same(a, b)) return false;
        }
    } else if (a->type == JSON_OBJECT) {
        const json *guess = b->child;
        for (const json *m = a->child; m != NULL; m = m->next) {
            const json *other = member(b, m->key, guess);
            if (other == NULL || !fhir_same(m, other)) return false;
            guess = other->next;
        }
    }
    return true;
}

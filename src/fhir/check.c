/* fhir/check.c -- holds the top level of a resource against the rows of fhir/r4.c. */
#include "fhir/check.h"

#include "fhir/r4.h"
#include "fhir/resource.h"

/* What every resource has (R4 2.26 Resource, 2.27 DomainResource); Bundle, Binary and
 * Parameters have no text, contained or extensions, which is not looked at here. */
static const struct { const char *name; r4_element element; } common[] = {
    { "id",                { .kind = R4_TEXT } },
    { "meta",              { .kind = R4_COMPLEX } },
    { "implicitRules",     { .kind = R4_TEXT } },
    { "language",          { .kind = R4_TEXT } },
    { "text",              { .kind = R4_COMPLEX } },
    { "contained",         { .kind = R4_COMPLEX, .many = true } },
    { "extension",         { .kind = R4_COMPLEX, .many = true } },
    { "modifierExtension", { .kind = R4_COMPLEX, .many = true } },
};

static bool common_find(slice key, r4_element *out)
{
    if (key.len > 1 && key.ptr[0] == '_') key = slice_from(key, 1);
    for (size_t i = 0; i < countof(common); i++) {
        if (!slice_is(key, common[i].name)) continue;
        *out = common[i].element;
        out->name = slice_of(common[i].name);
        return true;
    }
    return false;
}

static const char *kind_words(r4_kind kind)
{
    switch (kind) {
    case R4_COMPLEX: return "an object";
    case R4_TEXT:    return "a string";
    case R4_BOOLEAN: return "true or false";
    case R4_NUMBER:  return "a number";
    case R4_CHOICE:  break;
    }
    return "a value";
}

static bool kind_fits(r4_kind kind, const json *v)
{
    switch (kind) {
    case R4_COMPLEX: return v->type == JSON_OBJECT;
    case R4_TEXT:    return v->type == JSON_STRING;
    case R4_BOOLEAN: return v->type == JSON_TRUE || v->type == JSON_FALSE;
    case R4_NUMBER:  return v->type == JSON_NUMBER;
    case R4_CHOICE:  break;
    }
    return v->type != JSON_NULL && v->type != JSON_ARRAY;
}

static bool code_allowed(slice codes, slice code)
{
    while (codes.ptr != NULL) {
        if (slice_eq(slice_cut(codes, '|', &codes), code)) return true;
    }
    return false;
}

static err check_value(const char *type, const r4_element *e, const json *v, slice name, err_info *why)
{
    if (!kind_fits(e->kind, v))
        return err_set(why, ERR_FHIR, "%s.%.*s must be %s", type, (int)name.len, name.ptr,
                       kind_words(e->kind));
    if (v->type == JSON_STRING && v->text.len == 0)
        return err_set(why, ERR_FHIR, "%s.%.*s is empty", type, (int)name.len, name.ptr);
    if (e->codes.ptr != NULL && v->type == JSON_STRING && !code_allowed(e->codes, v->text))
        return err_set(why, ERR_FHIR, "%s.%.*s holds a code that R4 does not have there; it has %.*s",
                       type, (int)name.len, name.ptr, (int)e->codes.len, e->codes.ptr);
    return ERR_OK;
}

/* `_birthDate` carries extensions of the primitive `birthDate`: an object, or an array of
 * objects and nulls beside a repeating one (R4 JSON, 2.1.1.2). In turn the array of
 * the values may hold nulls. */
static err check_member(const char *type, const r4_element *e, const json *m, err_info *why)
{
    bool shadow = m->key.ptr[0] == '_';
    r4_element as = *e;
    err bad;

    if (shadow) {
        as.kind = R4_COMPLEX;
        as.codes = SLICE_NONE;
    }
    if (!e->many) return check_value(type, &as, m, m->key, why);
    if (m->type != JSON_ARRAY)
        return err_set(why, ERR_FHIR, "%s.%.*s repeats, so it must be an array", type,
                       (int)m->key.len, m->key.ptr);
    if (m->count == 0)
        return err_set(why, ERR_FHIR, "%s.%.*s is an empty array", type, (int)m->key.len, m->key.ptr);
    for (const json *v = m->child; v != NULL; v = v->next) {
        if (v->type == JSON_NULL && (shadow || e->kind != R4_COMPLEX)) continue;
        bad = check_value(type, &as, v, m->key, why);
        if (bad != ERR_OK) return bad;
    }
    return ERR_OK;
}

/* How many values the element has; a primitive's extensions alone are one too. */
static unsigned present(const json *resource, const r4_type *type, const r4_element *e)
{
    unsigned values = 0, shadows = 0;
    r4_element found;

    for (const json *m = resource->child; m != NULL; m = m->next) {
        bool shadow = m->key.len > 0 && m->key.ptr[0] == '_';
        if (!slice_starts(shadow ? slice_from(m->key, 1) : m->key, e->name)) continue;
        if (!r4_element_find(type, m->key, &found) || !slice_eq(found.name, e->name)) continue;
        if (shadow) shadows = 1;
        else values++;
    }
    return values > 0 ? values : shadows;
}

static err check_elements(const json *resource, const r4_type *type, err_info *why)
{
    slice rest = slice_of(type->elements);
    r4_element e;

    while (r4_next(&rest, &e)) {
        unsigned n;
        if (!e.required && e.kind != R4_CHOICE) continue;
        n = present(resource, type, &e);
        if (n == 0 && e.required)
            return err_set(why, ERR_FHIR, "%s.%.*s is required", type->name, (int)e.name.len, e.name.ptr);
        if (n > 1)
            return err_set(why, ERR_FHIR, "%s.%.*s[x] may have one type only", type->name,
                           (int)e.name.len, e.name.ptr);
    }
    return ERR_OK;
}

static err check_one(const json *resource, bool contained, err_info *why)
{
    const r4_type *type;
    const json *id;
    err bad;

    if (!json_is(resource, JSON_OBJECT)) return err_set(why, ERR_FHIR, "a resource must be a JSON object");
    if (!json_is(json_get(resource, "resourceType"), JSON_STRING))
        return err_set(why, ERR_FHIR, "resourceType is missing");
    type = r4_type_find(fhir_type(resource));
    if (type == NULL) return err_set(why, ERR_FHIR, "resourceType is none that FHIR R4 has");
    id = json_get(resource, "id");
    if (id != NULL && (id->type != JSON_STRING || !fhir_id_valid(id->text)))
        return err_set(why, ERR_FHIR, "%s.id must be 1 to 64 letters, digits, '-' or '.'", type->name);

    for (const json *m = resource->child; m != NULL; m = m->next) {
        r4_element e;
        if (slice_is(m->key, "resourceType")) continue;
        if (!common_find(m->key, &e) && !r4_element_find(type, m->key, &e)) {
            /* The name is the sender's text, so it is told only when it is shaped like one. */
            bool word = fhir_id_valid(m->key);
            return err_set(why, ERR_FHIR, "%s has no element %.*s", type->name,
                           word ? (int)m->key.len : 10, word ? m->key.ptr : "like that");
        }
        bad = check_member(type->name, &e, m, why);
        if (bad != ERR_OK) return bad;
    }
    bad = check_elements(resource, type, why);
    if (bad != ERR_OK) return bad;

    /* Contained resources do not contain others (R4 2.28.2, dom-2). */
    if (json_get(resource, "contained") == NULL) return ERR_OK;
    if (contained) return err_set(why, ERR_FHIR, "%s is contained and may not contain others", type->name);
    for (const json *c = json_get(resource, "contained")->child; c != NULL; c = c->next) {
        bad = check_one(c, true, why);
        if (bad != ERR_OK) return err_prefix(why, "%s.contained", type->name);
    }
    return ERR_OK;
}

err fhir_check(const json *resource, err_info *why)
{
    return check_one(resource, false, why);
}

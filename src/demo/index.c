/* demo/index.c -- search parameters by table: from elements to keys, from values to ranges. */
#include "demo/index.h"

#include "crypt/digest.h"
#include "fhir/r4.h"
#include "fhir/resource.h"
#include "fhir/search.h"

/* A row is for every resource type that has the first element of its path. */
static const demo_param params[] = {
    { "identifier",     PARAM_IDENTIFIER, "identifier", NULL },
    { "category",       PARAM_CODING,     "category", NULL },
    { "code",           PARAM_CODING,     "code", NULL },
    { "class",          PARAM_CODING,     "class", NULL },
    { "type",           PARAM_CODING,     "type", NULL },
    { "status",         PARAM_CODE,       "status", NULL },
    { "intent",         PARAM_CODE,       "intent", NULL },
    { "gender",         PARAM_CODE,       "gender", NULL },
    { "active",         PARAM_CODE,       "active", NULL },
    { "clinical-status", PARAM_CODING,    "clinicalStatus", NULL },
    { "url",            PARAM_URI,        "url", NULL },
    { "name",           PARAM_STRING,     "name", NULL },
    { "family",         PARAM_STRING,     "name", "family" },
    { "given",          PARAM_STRING,     "name", "given" },
    { "birthdate",      PARAM_DATE,       "birthDate", NULL },
    { "date",           PARAM_DATE,       "effectiveDateTime", NULL },
    { "date",           PARAM_DATE,       "effectiveInstant", NULL },
    { "date",           PARAM_DATE,       "effectivePeriod", "start" },
    { "date",           PARAM_DATE,       "period", "start" },
    { "date",           PARAM_DATE,       "date", NULL },
    { "issued",         PARAM_DATE,       "issued", NULL },
    { "recorded-date",  PARAM_DATE,       "recordedDate", NULL },
    { "subject",        PARAM_REFERENCE,  "subject", NULL },
    { "patient",        PARAM_REFERENCE,  "subject", NULL },
    { "patient",        PARAM_REFERENCE,  "patient", NULL },
    { "encounter",      PARAM_REFERENCE,  "encounter", NULL },
    { "performer",      PARAM_REFERENCE,  "performer", NULL },
    { "requester",      PARAM_REFERENCE,  "requester", NULL },
    { "author",         PARAM_REFERENCE,  "author", NULL },
    { "based-on",       PARAM_REFERENCE,  "basedOn", NULL },
    { "part-of",        PARAM_REFERENCE,  "partOf", NULL },
    { "partof",         PARAM_REFERENCE,  "partOf", NULL },
    { "specimen",       PARAM_REFERENCE,  "specimen", NULL },
    { "result",         PARAM_REFERENCE,  "result", NULL },
    { "has-member",     PARAM_REFERENCE,  "hasMember", NULL },
    { "derived-from",   PARAM_REFERENCE,  "derivedFrom", NULL },
    { "focus",          PARAM_REFERENCE,  "focus", NULL },
    { "organization",   PARAM_REFERENCE,  "managingOrganization", NULL },
    { "organization",   PARAM_REFERENCE,  "organization", NULL },
    { "practitioner",   PARAM_REFERENCE,  "practitioner", NULL },
    { "general-practitioner", PARAM_REFERENCE, "generalPractitioner", NULL },
    { "service-provider", PARAM_REFERENCE, "serviceProvider", NULL },
    { "participant",    PARAM_REFERENCE,  "participant.individual", NULL },
    { "location",       PARAM_REFERENCE,  "location.location", NULL },
    { "beneficiary",    PARAM_REFERENCE,  "beneficiary", NULL },
    { "payor",          PARAM_REFERENCE,  "payor", NULL },
    { "_profile",       PARAM_URI,        "meta.profile", NULL },
    { "_tag",           PARAM_CODING,     "meta.tag", NULL },
    { "_security",      PARAM_CODING,     "meta.security", NULL },
};

static bool of_type(const demo_param *p, const r4_type *type)
{
    slice rest;
    r4_element e;

    if (p->name[0] == '_') return true;
    return r4_element_find(type, slice_cut(slice_of(p->path), '.', &rest), &e);
}

const demo_param *demo_param_next(slice type, size_t *at)
{
    const r4_type *t = r4_type_find(type);

    while (t != NULL && *at < countof(params)) {
        const demo_param *p = &params[(*at)++];
        if (of_type(p, t)) return p;
    }
    return NULL;
}

const demo_param *demo_param_find(slice type, slice name)
{
    size_t at = 0;

    for (const demo_param *p; (p = demo_param_next(type, &at)) != NULL;) {
        if (slice_is(name, p->name)) return p;
    }
    return NULL;
}

/* ---- keys ------------------------------------------------------------------- */

enum { KEY_CAP = 400 };                  /* bytes; an index entry of PostgreSQL ends near 2,700 */

/* Behind every key that begins with `k`: U+10FFFF is the last character. */
static slice key_end(arena *mem, slice k)
{
    return arena_printf(mem, "%.*s\xf4\x8f\xbf\xbf", (int)k.len, k.ptr);
}

static buf key_begin(arena *mem, const char *name)
{
    buf k = buf_in(mem);
    buf_puts(&k, name);
    buf_putc(&k, '=');
    return k;
}

/* A part of a token: '|' inside of it gets a backslash, so that it does not separate. */
static void key_part(buf *k, slice part)
{
    for (size_t i = 0; i < part.len; i++) {
        if (part.ptr[i] == '|' || part.ptr[i] == '\\') buf_putc(k, '\\');
        buf_putc(k, part.ptr[i]);
    }
}

static slice key_token(arena *mem, const char *name, fhir_token_kind kind, slice system, slice code)
{
    buf k = key_begin(mem, name);

    if (kind != TOKEN_CODE) {
        key_part(&k, kind == TOKEN_NO_SYSTEM ? SLICE_NONE : system);
        buf_putc(&k, '|');
    }
    if (kind != TOKEN_SYSTEM) key_part(&k, code);
    return buf_slice(&k);
}

static slice key_text(arena *mem, const char *name, slice text)
{
    buf k = key_begin(mem, name);

    buf_put(&k, text);
    return buf_slice(&k);
}

/* Long ones end in the digest of the whole, so that they stay distinct. */
static slice key_short(arena *mem, slice whole)
{
    char hex[SHA256_HEX + 1];
    sha256 whole_digest;
    size_t keep = KEY_CAP - SHA256_HEX;
    buf b = buf_in(mem);

    if (whole.len <= KEY_CAP) return whole;
    while (keep > 0 && ((unsigned char)whole.ptr[keep] & 0xc0) == 0x80) keep--;      /* not inside of a character */
    whole_digest = sha256_of(whole);
    buf_put(&b, (slice){ whole.ptr, keep });
    buf_puts(&b, sha256_hex(&whole_digest, hex));
    return buf_slice(&b);
}

/* Strings are found by their beginning, in any case (of ASCII letters), so only that is kept. */
static slice key_string(arena *mem, const char *name, slice text)
{
    buf k = key_begin(mem, name);

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (i >= KEY_CAP / 2 && ((unsigned char)c & 0xc0) != 0x80) break;
        buf_putc(&k, c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c);
    }
    return buf_slice(&k);
}

static slice key_instant(arena *mem, const char *name, int64_t us)
{
    char text[FHIR_INSTANT_LEN + 1];

    return key_text(mem, name, slice_of(fhir_instant(us, text)));
}

/* ---- from a resource to its keys --------------------------------------------- */

typedef struct indexing {
    arena         *mem;
    buf           *out;
    slice          base;
    bool           any;
    demo_link_each link;
    void          *arg;
} indexing;

static void add(indexing *x, slice k)
{
    if (memchr(k.ptr, '\0', k.len) != NULL) return;         /* PostgreSQL's text has no NUL */
    if (x->any) buf_putc(x->out, ',');
    x->any = true;
    buf_json(x->out, key_short(x->mem, k));
}

static void add_token(indexing *x, const char *name, slice system, slice code)
{
    if (code.len == 0) return;
    add(x, key_token(x->mem, name, TOKEN_CODE, system, code));
    add(x, key_token(x->mem, name, system.len == 0 ? TOKEN_NO_SYSTEM : TOKEN_BOTH, system, code));
}

static void add_reference(indexing *x, const char *name, slice reference)
{
    fhir_target t;

    if (reference.len == 0 || reference.ptr[0] == '#') return;
    if (!fhir_reference_parse(reference, &t)) {
        if (x->link != NULL) x->link(x->arg, reference, name);
    } else if (t.base.ptr != NULL && !slice_eq(t.base, x->base)) {
        add(x, key_text(x->mem, name, reference));
    } else if (strcmp(name, "patient") != 0) {
        add(x, key_text(x->mem, name, arena_printf(x->mem, "%.*s/%.*s", (int)t.type.len, t.type.ptr,
                                                   (int)t.id.len, t.id.ptr)));
        add(x, key_text(x->mem, name, t.id));
    } else if (slice_is(t.type, "Patient")) {        /* the id says all */
        add(x, key_text(x->mem, name, t.id));
    }
}

/* All strings of a HumanName or Address, or the string itself. */
static void add_strings(indexing *x, const char *name, const json *v)
{
    if (v->type == JSON_STRING) {
        if (v->text.len > 0) add(x, key_string(x->mem, name, v->text));
        return;
    }
    for (const json *c = v->child; c != NULL; c = c->next) {
        if (!slice_is(c->key, "use") && !slice_is(c->key, "period") && !slice_is(c->key, "extension"))
            add_strings(x, name, c);
    }
}

static void add_codings(indexing *x, const char *name, const json *v)
{
    const json *codings = json_get(v, "coding");

    if (json_is(codings, JSON_ARRAY)) {
        for (const json *c = codings->child; c != NULL; c = c->next)
            add_token(x, name, json_text(c, "system"), json_text(c, "code"));
    } else {
        add_token(x, name, json_text(v, "system"), json_text(v, "code"));
    }
}

static void add_value(indexing *x, const demo_param *p, const json *v)
{
    fhir_span span;

    switch (p->kind) {
    case PARAM_IDENTIFIER: add_token(x, p->name, json_text(v, "system"), json_text(v, "value")); return;
    case PARAM_CODING:     add_codings(x, p->name, v); return;
    case PARAM_CODE:
        if (v->type == JSON_TRUE) add_token(x, p->name, SLICE_NONE, slice_lit("true"));
        if (v->type == JSON_FALSE) add_token(x, p->name, SLICE_NONE, slice_lit("false"));
        if (v->type == JSON_STRING) add_token(x, p->name, SLICE_NONE, v->text);
        return;
    case PARAM_URI:
        if (v->type == JSON_STRING) add(x, key_text(x->mem, p->name, v->text));
        return;
    case PARAM_STRING:     add_strings(x, p->name, v); return;
    case PARAM_DATE:
        if (v->type == JSON_STRING && fhir_date_parse(v->text, &span))
            add(x, key_instant(x->mem, p->name, span.from_us));
        return;
    case PARAM_REFERENCE:  add_reference(x, p->name, json_text(v, "reference")); return;
    }
}

/* Follows the path through objects and arrays alike. */
static void follow(indexing *x, const demo_param *p, const json *v, slice path)
{
    slice rest;

    if (v == NULL) return;
    if (v->type == JSON_ARRAY) {
        for (const json *c = v->child; c != NULL; c = c->next) follow(x, p, c, path);
    } else if (path.ptr != NULL) {
        slice name = slice_cut(path, '.', &rest);
        for (const json *m = v->type == JSON_OBJECT ? v->child : NULL; m != NULL; m = m->next) {
            if (slice_eq(m->key, name)) follow(x, p, m, rest);
        }
    } else {
        add_value(x, p, v);
    }
}

void demo_index(arena *mem, buf *out, const json *resource, slice base, demo_link_each link, void *arg)
{
    indexing x = { .mem = mem, .out = out, .base = base, .link = link, .arg = arg };
    size_t at = 0;

    buf_putc(out, '[');
    for (const demo_param *p; (p = demo_param_next(fhir_type(resource), &at)) != NULL;) {
        slice path = slice_of(p->path);
        if (p->part != NULL) path = arena_printf(mem, "%s.%s", p->path, p->part);
        follow(&x, p, resource, path);
    }
    buf_putc(out, ']');
}

/* ---- from a value to ranges ----------------------------------------------------- */

typedef struct asking {
    arena           *mem;
    const demo_param *param;
    slice            hint;               /* the type of a reference, when the modifier tells it */
    slice            base;
    demo_range_each  each;
    void            *arg;
} asking;

static void give(const asking *a, slice lo, slice hi)
{
    a->each(a->arg, key_short(a->mem, lo), key_short(a->mem, hi));
}

static err ask_token(const asking *a, slice value, err_info *why)
{
    fhir_search_token t;
    slice k;
    err e = fhir_search_token_parse(a->mem, value, &t, why);

    if (e != ERR_OK) return e;
    /* A code element has an implied system, which is not stored: it is found by its code. */
    if (a->param->kind == PARAM_CODE && t.kind == TOKEN_BOTH) t.kind = TOKEN_CODE;
    k = key_token(a->mem, a->param->name, t.kind, t.system, t.code);
    if (t.kind == TOKEN_SYSTEM) give(a, k, key_end(a->mem, k));
    else give(a, k, k);
    return ERR_OK;
}

static err ask_date(const asking *a, slice value, err_info *why)
{
    const char *name = a->param->name;
    fhir_span s;
    slice lo, hi;
    err e = fhir_search_date_parse(value, &s, why);

    if (e != ERR_OK) return e;
    lo = s.from_us == INT64_MIN ? key_text(a->mem, name, slice_lit("0")) : key_instant(a->mem, name, s.from_us);
    hi = s.to_us == INT64_MAX ? key_text(a->mem, name, slice_lit("9~")) : key_instant(a->mem, name, s.to_us - 1000);
    give(a, lo, hi);
    return ERR_OK;
}

static err ask_reference(const asking *a, slice value, err_info *why)
{
    fhir_search_reference r;
    slice text, k;
    err e = fhir_search_reference_parse(a->mem, value, a->base, a->hint, &r, why);

    if (e != ERR_OK) return e;
    text = r.url.ptr != NULL ? r.url : r.id;
    if (r.type.ptr != NULL && strcmp(a->param->name, "patient") != 0)
        text = arena_printf(a->mem, "%.*s/%.*s", (int)r.type.len, r.type.ptr, (int)r.id.len, r.id.ptr);
    k = key_text(a->mem, a->param->name, text);
    give(a, k, k);
    return ERR_OK;
}

static err ask(const asking *a, slice value, err_info *why)
{
    slice k;

    switch (a->param->kind) {
    case PARAM_IDENTIFIER: case PARAM_CODING: case PARAM_CODE: return ask_token(a, value, why);
    case PARAM_DATE: return ask_date(a, value, why);
    case PARAM_REFERENCE: return ask_reference(a, value, why);
    case PARAM_URI:
        k = key_text(a->mem, a->param->name, fhir_search_text(a->mem, value));
        give(a, k, k);
        return ERR_OK;
    case PARAM_STRING:
        k = key_string(a->mem, a->param->name, fhir_search_text(a->mem, value));
        give(a, k, key_end(a->mem, k));
        return ERR_OK;
    }
    return ERR_OK;
}

err demo_ranges(arena *mem, const demo_param *param, slice modifier, slice value, slice base,
                demo_range_each each, void *arg, err_info *why)
{
    asking a = { .mem = mem, .param = param, .hint = modifier, .base = base, .each = each, .arg = arg };
    slice alternative;

    if (modifier.ptr != NULL && (param->kind != PARAM_REFERENCE || !fhir_type_known(modifier)))
        return err_set(why, ERR_USAGE, "the modifier of the parameter %s is not supported", param->name);
    if (strcmp(param->name, "patient") == 0) a.hint = slice_lit("Patient");
    if (value.len == 0 || memchr(value.ptr, '\0', value.len) != NULL || utf8_valid(value) != value.len)
        return err_set(why, ERR_USAGE, "the value of %s is no clean UTF-8 text", param->name);
    while (fhir_search_next(&value, &alternative)) {
        err e;
        if (alternative.len == 0)
            return err_set(why, ERR_USAGE, "the parameter %s has an empty alternative", param->name);
        e = ask(&a, alternative, why);
        if (e != ERR_OK) return err_prefix(why, "%s", param->name);
    }
    return ERR_OK;
}

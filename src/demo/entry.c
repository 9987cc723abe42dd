/* demo/entry.c -- a resource taken apart into what is stored, what is indexed and what refers to
 * other entries.
 *
 * References that can be resolved only inside of the transaction (urn:uuid of another entry,
 * "Patient?identifier=…") are given to the store as their text, which it replaces in the
 * stored JSON: since that is written by json_write, `"reference":"…"` stands there exactly so,
 * and nowhere inside of a string, where quotes are escaped. */
#include "demo/entry.h"

#include <stdlib.h>
#include <sys/random.h>

#include "demo/index.h"
#include "fhir/resource.h"

/* ---- building blocks -------------------------------------------------------------- */

/* A random UUID (RFC 9562, version 4): what the store gives as id. */
static slice uuid4(arena *mem)
{
    unsigned char r[16];

    if (getrandom(r, sizeof r, 0) != sizeof r) die("getrandom failed");
    r[6] = (unsigned char)(0x40 | (r[6] & 0x0f));
    r[8] = (unsigned char)(0x80 | (r[8] & 0x3f));
    return arena_printf(mem, "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", r[0], r[1],
                        r[2], r[3], r[4], r[5], r[6], r[7], r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}

static void put_member(buf *out, const char *name, slice text)
{
    buf_printf(out, ",\"%s\":", name);
    buf_json(out, text);
}

/* `,"a":1,"b":2}` of an object, without the members in `but`. */
static slice rest_of(arena *mem, const json *object, const char *const *but)
{
    buf out = buf_in(mem);

    for (const json *m = json_is(object, JSON_OBJECT) ? object->child : NULL; m != NULL; m = m->next) {
        bool skip = false;
        for (int i = 0; but[i] != NULL; i++) skip = skip || slice_is(m->key, but[i]);
        if (skip) continue;
        buf_putc(&out, ',');
        buf_json(&out, m->key);
        buf_putc(&out, ':');
        json_write(&out, m);
    }
    buf_putc(&out, '}');
    return buf_slice(&out);
}

/* W/"3" or "3"; what is no version of ours is one that never matches. */
static int64_t version_of(slice etag)
{
    int64_t n;

    if (slice_starts(etag, slice_lit("W/"))) etag = slice_from(etag, 2);
    if (etag.len < 3 || etag.ptr[0] != '"' || etag.ptr[etag.len - 1] != '"') return -1;
    return slice_int((slice){ etag.ptr + 1, etag.len - 2 }, &n) ? n : -1;
}

static void lock(demo_write *w, slice type, const char *between, slice what)
{
    pg_array_text(&w->locks, arena_printf(w->scope->mem, "%.*s%s%.*s", (int)type.len, type.ptr, between,
                                          (int)what.len, what.ptr));
}

/* ---- names of entries ------------------------------------------------------------- */

typedef struct url_entry { map_node node; slice url; int entry; } url_entry;

static bool same_url(const map_node *node, const void *key)
{
    return slice_eq(container_of(node, url_entry, node)->url, *(const slice *)key);
}

static int find_entry(const demo_write *w, slice url)
{
    map_node *node = map_find(&w->urls, hash_bytes(url), same_url, &url);
    return node == NULL ? 0 : container_of(node, url_entry, node)->entry;
}

bool demo_write_name(demo_write *w, slice full_url, int entry)
{
    url_entry *u;

    if (find_entry(w, full_url) != 0) return false;
    u = arena_new(w->scope->mem, url_entry);
    u->url = full_url;
    u->entry = entry;
    map_add(&w->urls, &u->node, hash_bytes(full_url));
    return true;
}

/* ---- links ------------------------------------------------------------------------- */

typedef struct tie {
    struct tie  *next;
    slice        text;                   /* the reference */
    int          to;                     /* entry; 0: by condition */
    demo_query   condition;
    buf          names;                  /* JSON strings with commas */
} tie;

typedef struct links {
    demo_write  *w;
    tie         *first;
    demo_answer *answer;
    bool         refused;
} links;

static tie *tie_find(const links *ls, slice text)
{
    tie *l = ls->first;

    while (l != NULL && !slice_eq(l->text, text)) l = l->next;
    return l;
}

/* "Patient?identifier=…": the type, if it is that. */
static slice conditional_type(slice reference, slice *query)
{
    slice type = slice_cut(reference, '?', query);
    return query->ptr != NULL && fhir_type_known(type) ? type : SLICE_NONE;
}

static void on_reference(void *arg, slice element, json *reference)
{
    links *ls = arg;
    arena *mem = ls->w->scope->mem;
    slice text = reference->text, query, type = conditional_type(text, &query);
    int to = find_entry(ls->w, text);
    err_info why;
    tie *l;

    (void)element;
    if (ls->refused || tie_find(ls, text) != NULL) return;
    if (to == 0 && type.ptr == NULL) {
        if (slice_starts(text, slice_lit("urn:uuid:")))
            ls->refused = !demo_refuse(mem, ls->answer, 400, "invalid",
                                       "a reference to urn:uuid:… stands for no entry that creates or updates");
        return;
    }
    l = arena_new(mem, tie);
    *l = (tie){ .next = ls->first, .text = text, .to = to, .names = buf_in(mem) };
    if (to == 0 && demo_condition_parse(mem, type, query, ls->w->scope->base, &l->condition, &why) != ERR_OK)
        ls->refused = !demo_refuse(mem, ls->answer, 400, "invalid", "conditional reference: %s", why.text);
    ls->first = l;
}

static void on_indexed(void *arg, slice reference, const char *param)
{
    tie *l = tie_find(arg, reference);

    if (l == NULL) return;
    if (l->names.len > 0) buf_putc(&l->names, ',');
    buf_json(&l->names, slice_of(param));
}

static void put_links(buf *out, const links *ls)
{
    if (ls->first == NULL) return;
    buf_puts(out, ",\"links\":[");
    for (const tie *l = ls->first; l != NULL; l = l->next) {
        buf quoted = buf_in(out->mem);
        buf_json(&quoted, l->text);      /* as it stands in the stored text … */
        buf_puts(out, l == ls->first ? "{\"find\":" : ",{\"find\":");
        buf_json(out, buf_slice(&quoted));          /* … as a string of this JSON */
        buf_puts(out, ",\"names\":[");
        buf_put(out, buf_slice(&l->names));
        if (l->to > 0) {
            buf_printf(out, "],\"to\":%d}", l->to);
        } else {
            buf_puts(out, "]");
            put_member(out, "type", l->condition.type);
            buf_puts(out, ",\"criteria\":");
            buf_put(out, l->condition.criteria);
            buf_putc(out, '}');
        }
    }
    buf_putc(out, ']');
}

/* ---- entries ------------------------------------------------------------------------ */

void demo_write_begin(demo_write *w, const demo_scope *scope, bool with_links)
{
    *w = (demo_write){ .scope = scope, .entries = buf_in(scope->mem), .links = with_links };
    pg_array_begin(&w->locks, scope->mem, PG_TEXT);
    buf_putc(&w->entries, '[');
}

void demo_write_free(demo_write *w) { map_free(&w->urls); }

static const char *verb_name(demo_verb verb)
{
    return verb == DO_CREATE ? "create" : verb == DO_DELETE ? "delete" : "update";
}

static void put_resource(demo_write *w, buf *out, const demo_interaction *ix, links *ls)
{
    static const char *const not_rest[] = { "resourceType", "id", "meta", NULL };
    static const char *const not_meta[] = { "versionId", "lastUpdated", NULL };
    arena *mem = w->scope->mem;

    put_member(out, "meta", rest_of(mem, json_get(ix->body, "meta"), not_meta));
    put_member(out, "rest", rest_of(mem, ix->body, not_rest));
    buf_puts(out, ",\"terms\":");
    demo_index(mem, out, ix->body, w->scope->base, w->links ? on_indexed : NULL, ls);
    put_links(out, ls);
}

bool demo_write_add(demo_write *w, const demo_interaction *ix, demo_answer *answer)
{
    arena *mem = w->scope->mem;
    links ls = { .w = w, .answer = answer };
    slice id = ix->id, given = ix->body == NULL ? SLICE_NONE : fhir_id(ix->body);
    buf *out = &w->entries;

    if (w->links && ix->body != NULL) {
        fhir_references(ix->body, on_reference, &ls);
        if (ls.refused) return false;
    }
    if (w->count++ > 0) buf_putc(out, ',');
    buf_printf(out, "{\"verb\":\"%s\",\"method\":\"%s\"", verb_name(ix->verb), ix->method);
    put_member(out, "type", ix->type);
    if (id.ptr == NULL) {
        id = uuid4(mem);
        put_member(out, "fresh", id);
    } else {
        lock(w, ix->type, "/", id);
    }
    put_member(out, "id", id);
    if (ix->conditional) {
        for (int i = 0; i < ix->search.key_count; i++) lock(w, ix->type, " ", ix->search.keys[i]);
        if (given.ptr != NULL && ix->verb == DO_UPDATE) {
            put_member(out, "given", given);
            lock(w, ix->type, "/", given);
        }
        put_member(out, "key", ix->search.criteria);
        buf_puts(out, ",\"criteria\":");
        buf_put(out, ix->search.criteria);
    }
    if (ix->if_match.ptr != NULL) buf_printf(out, ",\"match\":%lld", (long long)version_of(ix->if_match));
    if (ix->body != NULL) put_resource(w, out, ix, &ls);
    buf_putc(out, '}');
    return true;
}

demo_call demo_write_call(demo_write *w, bool body)
{
    buf_putc(&w->entries, ']');
    return (demo_call){ DEMO_WRITE, {
        pg_array_end(&w->locks), pg_text(w->scope->mem, buf_slice(&w->entries)),
        pg_text(w->scope->mem, body ? slice_lit("t") : slice_lit("f")) } };
}

/* ---- what came back ------------------------------------------------------------------ */

enum { ENTRY, STATUS, TYPE, ID, VERSION, UPDATED, UPDATED_US, CONTENT, NOTE };

int demo_write_refused(const demo_scope *scope, const pg_result *result, demo_answer *answer)
{
    int status = (int)pg_cell_int(result, 0, STATUS);
    slice note = pg_cell(result, 0, NOTE);

    if (pg_rows(result) != 1 || note.ptr == NULL) return 0;
    (void)demo_refuse(scope->mem, answer, status, status == 412 ? "conflict" : "invalid", "%.*s",
                      (int)note.len, note.ptr);
    return (int)pg_cell_int(result, 0, ENTRY);
}

void demo_write_answer(const demo_scope *scope, const pg_result *result, int row, demo_answer *answer)
{
    arena *mem = scope->mem;
    slice content = pg_cell(result, row, CONTENT);

    *answer = (demo_answer){
        .status = (int)pg_cell_int(result, row, STATUS),
        .type = arena_dup(mem, pg_cell(result, row, TYPE)), .id = arena_dup(mem, pg_cell(result, row, ID)),
        .updated = arena_dup(mem, pg_cell(result, row, UPDATED)),
        .version = pg_cell_int(result, row, VERSION), .updated_us = pg_cell_int(result, row, UPDATED_US),
    };
    if (content.ptr != NULL) answer->body = arena_dup(mem, content);
}

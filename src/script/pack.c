/* script/pack.c -- an archive, opened: files by path, layers of packs, code tables,
 * handlers.
 *
 * A layer is one pack of the archive: the pack itself, then what it uses, each
 * followed by what that uses; last the library, which has modules and tables but
 * no handlers. Whatever is looked for is taken from the first layer that has it.
 *
 * A thousand connectors may run one pack: what is open is shared by all. */
#include "script/pack.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/hash.h"
#include "crypt/digest.h"
#include "hl7/head.h"
#include "script/manifest.h"
#include "script/pack_inside.h"

#define LAYERS_MAX 16

typedef struct layer {
    slice          name;                 /* empty: the library */
    slice          prefix;               /* "", "packs/NAME/", "lib/" */
    manifest       manifest;
    code_table_set tables;
} layer;

struct pack {
    size_t        refs;                  /* under opened.lock, as is `node` */
    map_node      node;                  /* in opened.by_digest, when it is complete */
    bool          shared;
    arena         mem;
    slice         archive;
    char          digest[SHA256_HEX + 1];
    pack_entry   *files;                 /* sorted by path */
    size_t        file_count;
    layer         layers[LAYERS_MAX];
    size_t        layer_count;
    pack_handler *handlers;
    size_t       *handler_layers;
    size_t        handler_count;
};

/* ---- files -------------------------------------------------------------------------- */

static int by_path(const void *a, const void *b)
{
    return slice_cmp(((const pack_entry *)a)->path, ((const pack_entry *)b)->path);
}

static pack_entry *find(const pack *p, slice path)
{
    pack_entry key = { .path = path };

    return p->file_count == 0 ? NULL : bsearch(&key, p->files, p->file_count, sizeof key, by_path);
}

static slice find_file(const pack *p, slice path)
{
    const pack_entry *f = find(p, path);
    return f == NULL ? SLICE_NONE : f->text;
}

slice pack_file(const pack *p, const char *path) { return find_file(p, slice_of(path)); }

static err read_files(pack *p, err_info *why)
{
    json *v;

    err e = json_parse(&p->mem, p->archive, &v, why);
    if (e != ERR_OK) return err_prefix(why, "pack archive");
    if (!json_is(v, JSON_OBJECT)) return err_set(why, ERR_SCRIPT, "pack archive: not an object");
    p->files = arena_array(&p->mem, pack_entry, v->count + 1);
    for (const json *f = v->child; f != NULL; f = f->next) {
        if (!json_is(f, JSON_STRING))
            return err_set(why, ERR_SCRIPT, "pack archive: '%.*s' is no text", (int)f->key.len, f->key.ptr);
        p->files[p->file_count++] = (pack_entry){ .path = arena_dup(&p->mem, f->key), .text = f->text };
    }
    if (p->file_count > 1) qsort(p->files, p->file_count, sizeof *p->files, by_path);
    return ERR_OK;
}

/* ---- layers ----------------------------------------------------------------------------- */

static err add_layer(pack *p, slice name, slice prefix, err_info *why)
{
    slice path = arena_printf(&p->mem, "%spack.lua", prefix.ptr);
    slice text = find_file(p, path);

    if (p->layer_count == LAYERS_MAX - 1)
        return err_set(why, ERR_SCRIPT, "a pack on top of more than %d others", LAYERS_MAX - 2);
    if (text.ptr == NULL && prefix.len > 0)
        return err_set(why, ERR_SCRIPT, "uses '%.*s', which the archive does not hold", (int)name.len,
                       name.ptr);
    if (text.ptr == NULL) return err_set(why, ERR_SCRIPT, "no pack.lua");
    layer *l = &p->layers[p->layer_count++];
    *l = (layer){ .name = name, .prefix = prefix };
    err e = manifest_read(&p->mem, path, text, &l->manifest, why);
    if (e != ERR_OK) return e;
    if (prefix.len > 0 && !slice_eq(l->manifest.name, name))
        return err_set(why, ERR_SCRIPT, "%.*s: its name is '%.*s'", (int)path.len, path.ptr,
                       (int)l->manifest.name.len, l->manifest.name.ptr);
    l->name = l->manifest.name;

    for (size_t i = 0; i < l->manifest.use_count; i++) {
        slice use = l->manifest.uses[i];
        size_t k = 0;
        while (k < p->layer_count && !slice_eq(p->layers[k].name, use)) k++;
        if (k < p->layer_count) continue;            /* also ends a circle */
        slice under = arena_printf(&p->mem, "packs/%.*s/", (int)use.len, use.ptr);
        if ((e = add_layer(p, use, under, why)) != ERR_OK) return e;
    }
    return ERR_OK;
}

/* NAME of PREFIXtables/NAME.csv; empty for other paths. */
static slice table_name(slice path, slice prefix)
{
    slice rest;

    if (!slice_starts(path, prefix)) return SLICE_NONE;
    rest = slice_from(path, prefix.len);
    if (!slice_starts(rest, slice_lit("tables/")) || rest.len < 12) return SLICE_NONE;
    rest = slice_from(rest, 7);
    if (!slice_eq(slice_from(rest, rest.len - 4), slice_lit(".csv"))) return SLICE_NONE;
    return (slice){ rest.ptr, rest.len - 4 };
}

static err read_tables(pack *p, layer *l, err_info *why)
{
    l->tables.tables = arena_array(&p->mem, code_table, p->file_count);
    for (size_t i = 0; i < p->file_count; i++) {
        const pack_entry *f = &p->files[i];
        slice name = table_name(f->path, l->prefix);
        if (name.len == 0) continue;
        err e = code_table_read(&p->mem, name, f->text, &l->tables.tables[l->tables.count], why);
        if (e != ERR_OK) return err_prefix(why, "%.*s", (int)f->path.len, f->path.ptr);
        l->tables.count++;
    }
    return ERR_OK;
}

static err read_handlers(pack *p, err_info *why)
{
    size_t total = 0;

    for (size_t i = 0; i < p->layer_count; i++) total += p->layers[i].manifest.handler_count;
    p->handlers = arena_array(&p->mem, pack_handler, total);
    p->handler_layers = arena_array(&p->mem, size_t, total);
    for (size_t i = 0; i < p->layer_count; i++) {
        const layer *l = &p->layers[i];
        for (size_t k = 0; k < l->manifest.handler_count; k++) {
            const manifest_handler *h = &l->manifest.handlers[k];
            if (pack_module(p, h->module) == NULL)
                return err_set(why, ERR_SCRIPT, "%.*spack.lua: handlers: '%.*s': no module '%.*s'",
                               (int)l->prefix.len, l->prefix.ptr, (int)h->pattern.len, h->pattern.ptr,
                               (int)h->module.len, h->module.ptr);
            p->handlers[p->handler_count] = (pack_handler){ h->pattern, h->module };
            p->handler_layers[p->handler_count++] = i;
        }
    }
    return ERR_OK;
}

/* ---- all that are open ---------------------------------------------------------------- */

static struct {
    pthread_mutex_t lock;
    map             by_digest;
} opened = { .lock = PTHREAD_MUTEX_INITIALIZER };

static bool same_digest(const map_node *node, const void *key)
{
    const pack *p = (const pack *)(const void *)((const char *)node - offsetof(pack, node));
    return strcmp(p->digest, key) == 0;
}

static pack *find_opened(const char *digest)
{
    map_node *node = map_find(&opened.by_digest, hash_bytes(slice_of(digest)), same_digest, digest);
    return node == NULL ? NULL : container_of(node, pack, node);
}

static pack *keep_opened(const char *digest)
{
    pack *p;

    (void)pthread_mutex_lock(&opened.lock);
    p = find_opened(digest);
    if (p != NULL) p->refs++;
    (void)pthread_mutex_unlock(&opened.lock);
    return p;
}

/* This one is for all from now on, or that one which was opened meanwhile. */
static pack *share(pack *p)
{
    pack *other;

    (void)pthread_mutex_lock(&opened.lock);
    other = find_opened(p->digest);
    if (other != NULL) {
        other->refs++;
    } else {
        p->shared = true;
        map_add(&opened.by_digest, &p->node, hash_bytes(slice_of(p->digest)));
    }
    (void)pthread_mutex_unlock(&opened.lock);
    if (other == NULL) return p;
    pack_drop(p);
    return other;
}

static err open_pack(pack *p, err_info *why)
{
    err e;

    if ((e = read_files(p, why)) != ERR_OK) return e;
    if ((e = add_layer(p, SLICE_NONE, slice_lit(""), why)) != ERR_OK) return e;
    p->layers[p->layer_count++] = (layer){ .prefix = slice_lit("lib/") };
    for (size_t i = 0; i < p->layer_count; i++)
        if ((e = read_tables(p, &p->layers[i], why)) != ERR_OK) return e;
    return read_handlers(p, why);
}

err pack_open(slice archive, const char *expected, pack **out, err_info *why)
{
    sha256 sum = sha256_of(archive);
    char digest[SHA256_HEX + 1];
    pack *p;
    err e;

    (void)sha256_hex(&sum, digest);
    if (expected != NULL && strcmp(expected, digest) != 0)
        return err_set(why, ERR_SCRIPT, "pack archive: its digest is another");
    if ((*out = keep_opened(digest)) != NULL) return ERR_OK;
    p = mem_zalloc(sizeof *p);
    p->refs = 1;
    memcpy(p->digest, digest, sizeof digest);
    p->archive = arena_dup(&p->mem, archive);
    if ((e = open_pack(p, why)) != ERR_OK) {
        pack_drop(p);
        return e;
    }
    *out = share(p);
    return ERR_OK;
}

pack *pack_keep(pack *p)
{
    (void)pthread_mutex_lock(&opened.lock);
    p->refs++;
    (void)pthread_mutex_unlock(&opened.lock);
    return p;
}

void pack_drop(pack *p)
{
    bool last;

    if (p == NULL) return;
    (void)pthread_mutex_lock(&opened.lock);
    last = --p->refs == 0;
    if (last && p->shared) map_remove(&opened.by_digest, &p->node);
    (void)pthread_mutex_unlock(&opened.lock);
    if (!last) return;
    for (size_t i = 0; i < p->file_count; i++) free(atomic_load(&p->files[i].code));
    arena_free(&p->mem);
    free(p);
}

slice pack_name(const pack *p) { return p->layers[0].name; }
slice pack_version(const pack *p) { return p->layers[0].manifest.version; }
const char *pack_digest(const pack *p) { return p->digest; }
slice pack_archive(const pack *p) { return p->archive; }

err pack_uses(arena *mem, slice pack_lua, slice **uses, size_t *count, err_info *why)
{
    manifest m;
    err e = manifest_read(mem, slice_lit("pack.lua"), pack_lua, &m, why);

    *uses = m.uses;
    *count = m.use_count;
    return e;
}

/* ---- looking up ------------------------------------------------------------------------- */

size_t pack_layer_count(const pack *p) { return p->layer_count; }
const code_table_set *pack_layer_tables(const pack *p, size_t i) { return &p->layers[i].tables; }

#define MODULE_PATH_MAX 256

/* "a.b" is a/b.lua, but a file's own name may have dots: packs/x.y/z. */
pack_entry *pack_module(const pack *p, slice name)
{
    char path[MODULE_PATH_MAX];

    for (int dots = 0; dots < 2; dots++) {
        for (size_t i = 0; i < p->layer_count; i++) {
            slice prefix = p->layers[i].prefix;
            size_t n = prefix.len + name.len;
            pack_entry *f;
            if (n + 5 > sizeof path) return NULL;
            memcpy(path, prefix.ptr, prefix.len);
            for (size_t k = 0; k < name.len; k++)
                path[prefix.len + k] = dots == 0 && name.ptr[k] == '.' ? '/' : name.ptr[k];
            memcpy(path + n, ".lua", 5);
            if ((f = find(p, (slice){ path, n + 4 })) != NULL) return f;
        }
    }
    return NULL;
}

void pack_entry_compiled(pack_entry *f, slice code)
{
    compiled *made = mem_alloc(sizeof *made + code.len), *none = NULL;

    made->len = code.len;
    memcpy(made->bytes, code.ptr, code.len);
    if (!atomic_compare_exchange_strong(&f->code, &none, made)) free(made);
}

size_t pack_handler_count(const pack *p) { return p->handler_count; }
const pack_handler *pack_handler_at(const pack *p, size_t i) { return &p->handlers[i]; }

size_t pack_handler_find(const pack *p, slice type)
{
    size_t best = SIZE_MAX;
    int best_rank = 0;

    for (size_t i = 0; i < p->handler_count; i++) {
        slice pattern = p->handlers[i].pattern;
        if (best != SIZE_MAX && p->handler_layers[i] != p->handler_layers[best]) break;
        if (!hl7_type_matches(pattern, type)) continue;
        int rank = slice_is(pattern, "*") ? 1 : slice_eq(pattern, type) ? 3 : 2;
        if (rank <= best_rank) continue;
        best = i;
        best_rank = rank;
    }
    return best;
}

/* ---- settings ----------------------------------------------------------------------------- */

static const json *find_schema(const pack *p, slice name, size_t before)
{
    for (size_t i = 0; i < before; i++) {
        const json *s = p->layers[i].manifest.settings;
        for (s = s == NULL ? NULL : s->child; s != NULL; s = s->next)
            if (slice_eq(s->key, name)) return s;
    }
    return NULL;
}

static err check_given(const pack *p, const json *given, err_info *why)
{
    bool any = false;

    for (size_t i = 0; i < p->layer_count; i++) any |= p->layers[i].manifest.settings != NULL;
    for (const json *v = any ? given->child : NULL; v != NULL; v = v->next) {
        const json *schema = find_schema(p, v->key, p->layer_count);
        if (schema == NULL)
            return err_set(why, ERR_CONFIG, "the pack has no setting '%.*s'", (int)v->key.len, v->key.ptr);
        err e = manifest_check_setting(schema, v, why);
        if (e != ERR_OK) return e;
    }
    return ERR_OK;
}

err pack_settings(const pack *p, arena *mem, slice given, json **out, err_info *why)
{
    err e;

    *out = json_new(mem, JSON_OBJECT);
    if (given.len > 0 && json_parse(mem, given, out, why) != ERR_OK) return err_prefix(why, "settings");
    if (!json_is(*out, JSON_OBJECT)) return err_set(why, ERR_CONFIG, "settings: not an object");
    if ((e = check_given(p, *out, why)) != ERR_OK) return e;
    for (size_t i = 0; i < p->layer_count; i++) {
        const json *s = p->layers[i].manifest.settings;
        for (s = s == NULL ? NULL : s->child; s != NULL; s = s->next) {
            char name[128];
            if (find_schema(p, s->key, i) != NULL) continue;         /* an upper layer has its say */
            if (json_get(*out, slice_cstr(s->key, name, sizeof name)) != NULL) continue;
            const json *fallback = json_get(s, "default");
            if (fallback != NULL) json_set(*out, arena_dup(mem, s->key), json_copy(mem, fallback));
            else if (json_is(json_get(s, "required"), JSON_TRUE))
                return err_set(why, ERR_CONFIG, "the pack needs the setting '%s'", name);
        }
    }
    return ERR_OK;
}

/* ---- building ------------------------------------------------------------------------------- */

struct pack_builder {
    arena     *mem;
    pack_entry *files;
    size_t     count, room;
};

pack_builder *pack_builder_new(arena *mem)
{
    pack_builder *b = arena_new(mem, pack_builder);
    b->mem = mem;
    return b;
}

void pack_builder_add(pack_builder *b, slice path, slice text)
{
    if (b->count == b->room) {
        size_t room = b->room == 0 ? 32 : b->room * 2;
        pack_entry *files = arena_array(b->mem, pack_entry, room);
        if (b->count > 0) memcpy(files, b->files, b->count * sizeof *files);
        b->files = files;
        b->room = room;
    }
    b->files[b->count++] = (pack_entry){ .path = arena_dup(b->mem, path), .text = arena_dup(b->mem, text) };
}

slice pack_builder_archive(pack_builder *b)
{
    buf out = buf_in(b->mem);

    if (b->count > 1) qsort(b->files, b->count, sizeof *b->files, by_path);
    buf_putc(&out, '{');
    for (size_t i = 0; i < b->count; i++) {
        if (i > 0) buf_putc(&out, ',');
        buf_json(&out, b->files[i].path);
        buf_putc(&out, ':');
        buf_json(&out, b->files[i].text);
    }
    buf_putc(&out, '}');
    return buf_slice(&out);
}

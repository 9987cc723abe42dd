/* script/manifest.c -- what a pack says about itself. */
#include "script/manifest.h"

#include "script/state.h"

static const vm_limits manifest_limits = { (size_t)4 << 20, 100000000u, 5000000000u, (size_t)1 << 20 };

typedef struct loader { slice path, text; json *out; } loader;

static int load_body(lua_State *L)
{
    loader *l = lua_touserdata(L, 1);
    char path[200];

    lua_pushfstring(L, "@%s", slice_cstr(l->path, path, sizeof path));
    if (luaL_loadbufferx(L, l->text.ptr, l->text.len, lua_tostring(L, -1), "t") != LUA_OK)
        return lua_error(L);
    lua_call(L, 0, 1);
    if (lua_type(L, -1) != LUA_TTABLE)
        return luaL_error(L, "%s: returns a %s, not the manifest's table", path, luaL_typename(L, -1));
    l->out = json_from_lua(L, -1, JSON_PLAIN, vm_of(L)->mem, path);
    return 0;
}

static bool is_word(slice s, const char *more, size_t longest)
{
    if (s.len == 0 || s.len > longest) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i], lower = (char)(c | 32);
        bool plain = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9');
        if (!plain && (c == '\0' || strchr(more, c) == NULL)) return false;
    }
    return true;
}

/* "*", "ADT", "ADT^*", "ADT^A01" */
static bool is_pattern(slice s)
{
    slice event, type = slice_cut(s, '^', &event);

    if (slice_is(s, "*")) return true;
    return is_word(type, "", 20) && (event.ptr == NULL || slice_is(event, "*") || is_word(event, "_", 20));
}

static bool is_empty_table(const json *v)
{
    return v->count == 0 && (json_is(v, JSON_OBJECT) || json_is(v, JSON_ARRAY));
}

static err read_uses(arena *mem, const json *v, manifest *out, err_info *why)
{
    if (v == NULL || is_empty_table(v)) return ERR_OK;
    if (!json_is(v, JSON_ARRAY)) return err_set(why, ERR_SCRIPT, "uses: not a list of names");
    out->uses = arena_array(mem, slice, v->count);
    for (const json *use = v->child; use != NULL; use = use->next) {
        if (!json_is(use, JSON_STRING) || !is_word(use->text, "-_", 64))
            return err_set(why, ERR_SCRIPT, "uses: [%zu] is no pack's name", out->use_count + 1);
        out->uses[out->use_count++] = use->text;
    }
    return ERR_OK;
}

static err read_handlers(arena *mem, const json *v, manifest *out, err_info *why)
{
    if (v == NULL || is_empty_table(v)) return ERR_OK;
    if (!json_is(v, JSON_OBJECT)) return err_set(why, ERR_SCRIPT, "handlers: not a table by message type");
    out->handlers = arena_array(mem, manifest_handler, v->count);
    for (const json *h = v->child; h != NULL; h = h->next) {
        if (!is_pattern(h->key))
            return err_set(why, ERR_SCRIPT, "handlers: '%.*s' is no message type: ADT^A01, ADT^*, ADT or *",
                           (int)h->key.len, h->key.ptr);
        if (!json_is(h, JSON_STRING) || !is_word(h->text, "-_./", 128))
            return err_set(why, ERR_SCRIPT, "handlers: '%.*s': not a module's name", (int)h->key.len,
                           h->key.ptr);
        out->handlers[out->handler_count++] = (manifest_handler){ h->key, h->text };
    }
    return ERR_OK;
}

/* ---- settings ------------------------------------------------------------------------ */

static bool is_integer(const json *v)
{
    int64_t n;
    return json_is(v, JSON_NUMBER) && slice_int(v->text, &n);
}

static bool has_type(const json *v, slice type)
{
    if (slice_is(type, "string")) return json_is(v, JSON_STRING);
    if (slice_is(type, "integer")) return is_integer(v);
    if (slice_is(type, "number")) return json_is(v, JSON_NUMBER);
    if (slice_is(type, "boolean")) return json_is(v, JSON_TRUE) || json_is(v, JSON_FALSE);
    /* Lua and JSON do not tell an empty list from an empty table alike. */
    if (slice_is(type, "list")) return json_is(v, JSON_ARRAY) || (json_is(v, JSON_OBJECT) && v->count == 0);
    return json_is(v, JSON_OBJECT) || (json_is(v, JSON_ARRAY) && v->count == 0);
}

err manifest_check_setting(const json *schema, const json *value, err_info *why)
{
    slice type = json_text(schema, "type");

    if (has_type(value, type)) return ERR_OK;
    return err_set(why, ERR_CONFIG, "setting '%.*s' is no %.*s", (int)schema->key.len, schema->key.ptr,
                   (int)type.len, type.ptr);
}

static err check_schema(const json *s, err_info *why)
{
    static const char *const types[] = { "string", "integer", "number", "boolean", "list", "table" };
    static const char *const keys[] = { "type", "default", "required", "help" };
    const json *fallback = json_get(s, "default");
    size_t i;

    if (!json_is(s, JSON_OBJECT)) return err_set(why, ERR_SCRIPT, "not a table with a type");
    for (const json *k = s->child; k != NULL; k = k->next) {
        for (i = 0; i < countof(keys) && !slice_is(k->key, keys[i]);) i++;
        if (i == countof(keys))
            return err_set(why, ERR_SCRIPT, "'%.*s' is none of type, default, required, help",
                           (int)k->key.len, k->key.ptr);
    }
    for (i = 0; i < countof(types) && !slice_is(json_text(s, "type"), types[i]);) i++;
    if (i == countof(types))
        return err_set(why, ERR_SCRIPT, "type is none of string, integer, number, boolean, list, table");
    if (fallback != NULL && !has_type(fallback, json_text(s, "type")))
        return err_set(why, ERR_SCRIPT, "the default is not of the type");
    return ERR_OK;
}

static err read_settings(const json *v, manifest *out, err_info *why)
{
    if (v == NULL || is_empty_table(v)) return ERR_OK;
    if (!json_is(v, JSON_OBJECT)) return err_set(why, ERR_SCRIPT, "settings: not a table by name");
    for (const json *s = v->child; s != NULL; s = s->next)
        if (check_schema(s, why) != ERR_OK)
            return err_prefix(why, "settings: '%.*s'", (int)s->key.len, s->key.ptr);
    out->settings = v;
    return ERR_OK;
}

/* ---- the whole ------------------------------------------------------------------------- */

static err read_all(arena *mem, const json *v, manifest *out, err_info *why)
{
    static const char *const keys[] = { "name", "version", "uses", "handlers", "settings", "description" };
    err e;

    for (const json *k = v->child; k != NULL; k = k->next) {
        size_t i = 0;
        while (i < countof(keys) && !slice_is(k->key, keys[i])) i++;
        if (i == countof(keys))
            return err_set(why, ERR_SCRIPT, "'%.*s' is no key of a manifest: name, version, uses, "
                           "handlers, settings, description", (int)k->key.len, k->key.ptr);
    }
    out->name = json_text(v, "name");
    out->version = json_text(v, "version");
    if (!is_word(out->name, "-_", 64))
        return err_set(why, ERR_SCRIPT, "name: letters, digits, - and _, up to 64");
    if (!is_word(out->version, ".-+_", 64)) return err_set(why, ERR_SCRIPT, "version: such as \"1.2.0\"");
    if ((e = read_uses(mem, json_get(v, "uses"), out, why)) != ERR_OK) return e;
    if ((e = read_handlers(mem, json_get(v, "handlers"), out, why)) != ERR_OK) return e;
    if ((e = read_settings(json_get(v, "settings"), out, why)) != ERR_OK) return e;
    if (out->handler_count == 0 && out->use_count == 0)
        return err_set(why, ERR_SCRIPT, "neither handlers nor uses: it would map nothing");
    return ERR_OK;
}

err manifest_read(arena *mem, slice path, slice text, manifest *out, err_info *why)
{
    loader l = { path, text, NULL };
    vm *v;

    *out = (manifest){ 0 };
    err e = state_open(&manifest_limits, &v, why);
    if (e != ERR_OK) return e;
    e = state_call(v, load_body, &l, mem, manifest_limits.cpu_ns, manifest_limits.wall_ns, why);
    state_close(v);
    if (e != ERR_OK) return e;
    e = read_all(mem, l.out, out, why);
    return e == ERR_OK ? e : err_prefix(why, "%.*s", (int)path.len, path.ptr);
}

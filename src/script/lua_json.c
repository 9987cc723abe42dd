/* script/lua_json.c -- Lua values to JSON and back, without losing a digit.
 *
 * A table whose keys are 1 to n is an array; any other has only strings as keys
 * and is an object, its keys sorted, resourceType, id and meta in front. Only what
 * is in the table counts: metatables are not asked. Working memory is in the
 * run's arena and in `scratch`, so an error may leave at any point. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "script/state.h"

/* Where the walk stands, for the error that names it. */
typedef struct place {
    const struct place *up;
    slice               key;             /* of an object's member; or … */
    lua_Integer         position;        /* … of an array's element, from 1 */
} place;

typedef struct writer {
    lua_State  *L;
    vm         *v;
    arena      *mem;
    json_form   form;
    const char *what;
} writer;

/* An element's name. Other keys may be taken from the message, and errors never
 * show what is in it (promise P9). */
static bool is_name(slice key)
{
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];
        if (c != '_' && !((c | 32) >= 'a' && (c | 32) <= 'z') && (i == 0 || c < '0' || c > '9')) return false;
    }
    return key.len > 0 && key.len <= 64;
}

static void write_place(buf *out, const place *p)
{
    if (p->up != NULL) write_place(out, p->up);
    if (p->position > 0) buf_printf(out, "[%lld]", (long long)p->position);
    else if (p->up != NULL) {
        buf_putc(out, '.');
        buf_put(out, is_name(p->key) ? p->key : slice_lit("?"));
    }
}

static void refuse(const writer *w, const place *p, const char *wrong)
{
    buf text = buf_in(&w->v->scratch);

    write_place(&text, p);
    lua_pushlstring(w->L, text.len > 0 ? text.ptr : "", text.len);
    (void)luaL_error(w->L, "%s%s: %s", w->what, lua_tostring(w->L, -1), wrong);
}

/* ---- scalars ------------------------------------------------------------------- */

static bool is_dropped(char c)
{
    return (unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r';
}

/* A copy in the run's arena. FHIR forbids the control characters that are dropped
 * (R4 2.24.0.1). */
static slice copy_text(writer *w, const place *p, slice s)
{
    size_t bad = 0, n = 0;

    if (utf8_valid(s) != s.len) refuse(w, p, "text that is not UTF-8");
    if (budget_step(&w->v->budget, s.len / 8 + 1)) state_check(w->L);
    state_output(w->L, s.len + 3);
    if (w->form == JSON_RESOURCE)
        for (size_t i = 0; i < s.len; i++) bad += is_dropped(s.ptr[i]);
    if (bad == 0) return arena_dup(w->mem, s);
    char *copy = arena_alloc(w->mem, s.len - bad + 1);
    for (size_t i = 0; i < s.len; i++)
        if (!is_dropped(s.ptr[i])) copy[n++] = s.ptr[i];
    copy[n] = '\0';
    return (slice){ copy, n };
}

static json *number_value(writer *w, slice text)
{
    json *v = json_new(w->mem, JSON_NUMBER);

    v->text = text;
    state_output(w->L, text.len + 1);
    return v;
}

/* The shortest text that reads back as the same number; 3.0 is written 3. */
static json *float_value(writer *w, const place *p, double n)
{
    char text[40];

    if (!isfinite(n)) refuse(w, p, "a number that is not finite");
    if (n == 0) n = 0;                   /* not -0 */
    for (int digits = 15; digits <= 17; digits++) {
        (void)snprintf(text, sizeof text, "%.*g", digits, n);
        if (strtod(text, NULL) == n) break;
    }
    return number_value(w, arena_dup(w->mem, slice_of(text)));
}

static json *integer_value(writer *w, lua_Integer n)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%lld", (long long)n);
    return number_value(w, arena_dup(w->mem, slice_of(text)));
}

/* ---- tables ---------------------------------------------------------------------- */

static json *any_value(writer *w, int index, const place *p, int depth);

static int key_rank(slice key)
{
    if (slice_is(key, "resourceType")) return 0;
    if (slice_is(key, "id")) return 1;
    if (slice_is(key, "meta")) return 2;
    return 3;
}

static int by_key(const void *a, const void *b)
{
    const slice *x = a, *y = b;
    int first = key_rank(*x), second = key_rank(*y);

    return first != second ? first - second : slice_cmp(*x, *y);
}

typedef struct shape { size_t strings, positions; } shape;

static shape shape_of(writer *w, int t, const place *p)
{
    lua_State *L = w->L;
    shape s = { 0 };

    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1)) {
        if (budget_step(&w->v->budget, 4)) state_check(L);
        if (lua_type(L, -2) == LUA_TSTRING) {
            s.strings++;
        } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > 0) {
            s.positions++;
        } else {
            refuse(w, p, "a key that is neither a name nor a position");
        }
        if (s.strings > 0 && s.positions > 0) refuse(w, p, "both names and positions as keys");
    }
    return s;
}

/* Of n positions one is within 1 to n and missing, unless they are 1 to n. */
static json *array_value(writer *w, int t, const shape *s, const place *p, int depth)
{
    lua_State *L = w->L;
    json *array = json_new(w->mem, JSON_ARRAY);

    state_output(L, 2);
    for (lua_Integer i = 1; i <= (lua_Integer)s->positions; i++) {
        place here = { .up = p, .position = i };
        if (lua_rawgeti(L, t, i) == LUA_TNIL) refuse(w, &here, "a hole in an array");
        json *v = any_value(w, lua_gettop(L), &here, depth + 1);
        if (v != NULL) json_push(array, v);
        lua_pop(L, 1);
    }
    return array->count == 0 && w->form == JSON_RESOURCE ? NULL : array;
}

static json *object_value(writer *w, int t, const shape *s, const place *p, int depth)
{
    lua_State *L = w->L;
    json *object = json_new(w->mem, JSON_OBJECT);
    slice *keys = arena_alloc(&w->v->scratch, (s->strings + 1) * sizeof *keys);
    size_t n = 0;

    state_output(L, 2);
    /* The keys' text stays where it is while the table holds them. */
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1))
        keys[n].ptr = lua_tolstring(L, -2, &keys[n].len), n++;
    if (n > 1) qsort(keys, n, sizeof *keys, by_key);
    for (size_t i = 0; i < n; i++) {
        place here = { .up = p, .key = keys[i] };
        lua_pushlstring(L, keys[i].ptr, keys[i].len);
        (void)lua_rawget(L, t);
        json *v = any_value(w, lua_gettop(L), &here, depth + 1);
        lua_pop(L, 1);
        if (v == NULL) continue;
        json_push(object, v);            /* not json_set: the keys are known to differ */
        v->key = copy_text(w, &here, keys[i]);
    }
    return object->count == 0 && w->form == JSON_RESOURCE && depth > 0 ? NULL : object;
}

static bool is_array_marked(lua_State *L, int t)
{
    if (lua_getmetatable(L, t) == 0) return false;
    (void)luaL_getmetatable(L, "json.array");
    bool marked = lua_rawequal(L, -1, -2) != 0;
    lua_pop(L, 2);
    return marked;
}

static json *table_value(writer *w, int t, const place *p, int depth)
{
    if (depth >= JSON_DEPTH) refuse(w, p, "nested too deeply, or within itself");
    luaL_checkstack(w->L, 8, "nested too deeply");
    state_check(w->L);
    shape s = shape_of(w, t, p);
    if (s.positions == 0 && s.strings == 0 && w->form == JSON_RESOURCE && depth > 0) return NULL;
    if (s.positions > 0 || (s.strings == 0 && is_array_marked(w->L, t)))
        return array_value(w, t, &s, p, depth);
    return object_value(w, t, &s, p, depth);
}

/* NULL: to be left out. A null within a resource marks an element to be deleted,
 * which only a whole element of the resource can be; deeper it says nothing, as
 * what it stands in replaces what was there. */
static json *any_value(writer *w, int index, const place *p, int depth)
{
    lua_State *L = w->L;
    slice text;

    switch (lua_type(L, index)) {
    case LUA_TNIL: return NULL;
    case LUA_TBOOLEAN:
        state_output(L, 5);
        return json_new(w->mem, lua_toboolean(L, index) ? JSON_TRUE : JSON_FALSE);
    case LUA_TNUMBER:
        return lua_isinteger(L, index) ? integer_value(w, lua_tointeger(L, index))
                                       : float_value(w, p, lua_tonumber(L, index));
    case LUA_TSTRING:
        text.ptr = lua_tolstring(L, index, &text.len);
        text = copy_text(w, p, text);
        return text.len == 0 && w->form == JSON_RESOURCE ? NULL : json_string(w->mem, text);
    case LUA_TTABLE: return table_value(w, index, p, depth);
    default: break;
    }
    if (null_is(L, index)) {
        if (w->form == JSON_RESOURCE && depth != 1) return NULL;
        state_output(L, 4);
        return json_new(w->mem, JSON_NULL);
    }
    if (decimal_is(L, index, &text)) return number_value(w, arena_dup(w->mem, text));
    /* Not its text: a message's would be its content. */
    if (luaL_getmetafield(L, index, "__name") != LUA_TSTRING) lua_pushstring(L, luaL_typename(L, index));
    refuse(w, p, lua_pushfstring(L, "a %s, which JSON cannot hold", lua_tostring(L, -1)));
    return NULL;
}

json *json_from_lua(lua_State *L, int index, json_form form, arena *mem, const char *what)
{
    vm *v = vm_of(L);
    writer w = { L, v, mem, form, what };
    place root = { 0 };

    arena_reset(&v->scratch);
    json *out = any_value(&w, lua_absindex(L, index), &root, 0);
    state_check(L);
    return out != NULL ? out : json_new(mem, JSON_NULL);
}

/* ---- and back ----------------------------------------------------------------------- */

/* A number that Lua can hold is one of Lua's; any other keeps its text. */
static void push_number(lua_State *L, slice text)
{
    char shortest[40], *end;
    int64_t whole;

    if (slice_int(text, &whole) && !slice_is(text, "-0")) {
        lua_pushinteger(L, whole);
        return;
    }
    if (text.len < sizeof shortest - 1) {
        char own[40];
        double n = strtod(slice_cstr(text, own, sizeof own), &end);
        for (int digits = 15; digits <= 17; digits++) {
            (void)snprintf(shortest, sizeof shortest, "%.*g", digits, n);
            if (strtod(shortest, NULL) == n) break;
        }
        if (slice_is(text, shortest)) {
            lua_pushnumber(L, n);
            return;
        }
    }
    decimal_push(L, text);
}

void json_to_lua(lua_State *L, const json *v)
{
    lua_Integer n = 0;

    luaL_checkstack(L, 4, "nested too deeply");
    if (budget_step(&vm_of(L)->budget, 8)) state_check(L);
    switch (v->type) {
    case JSON_NULL: null_push(L); return;
    case JSON_FALSE: lua_pushboolean(L, 0); return;
    case JSON_TRUE: lua_pushboolean(L, 1); return;
    case JSON_NUMBER: push_number(L, v->text); return;
    case JSON_STRING: lua_pushlstring(L, v->text.ptr, v->text.len); return;
    case JSON_ARRAY:
        lua_createtable(L, (int)v->count, 0);
        for (const json *child = v->child; child != NULL; child = child->next) {
            json_to_lua(L, child);
            lua_rawseti(L, -2, ++n);
        }
        if (v->count == 0) luaL_setmetatable(L, "json.array");
        return;
    case JSON_OBJECT:
        lua_createtable(L, 0, (int)v->count);
        for (const json *child = v->child; child != NULL; child = child->next) {
            lua_pushlstring(L, child->key.ptr, child->key.len);
            json_to_lua(L, child);
            lua_rawset(L, -3);
        }
        return;
    }
}

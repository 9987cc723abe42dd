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

/* Counts output; raises when there is too much. */
static void count_output(const writer *w, size_t bytes)
{
    if (bytes <= w->v->limits.output - w->v->result.bytes) w->v->result.bytes += bytes;
    else state_output(w->L, bytes);
}

static bool is_dropped(char c)
{
    return (unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r';
}

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* ASCII without control characters, as most text is; eight bytes at a time. */
static bool is_plain(slice s)
{
    size_t i = 0;

    for (; s.len - i >= 8; i += 8) {
        uint64_t word;
        memcpy(&word, s.ptr + i, sizeof word);
        if (((word | (word - EACH(0x20))) & EACH(0x80)) != 0) return false;
    }
    for (; i < s.len; i++)
        if ((unsigned char)s.ptr[i] < 0x20 || (unsigned char)s.ptr[i] >= 0x80) return false;
    return true;
}

/* A copy behind `before` bytes that the caller fills. */
static char *copy_behind(arena *mem, size_t before, slice s)
{
    char *copy = arena_alloc(mem, before + s.len + 1);

    if (s.len > 0) memcpy(copy + before, s.ptr, s.len);
    copy[before + s.len] = '\0';
    return copy;
}

/* What is written of a text: without the control characters that FHIR forbids (R4
 * 2.24.0.1). Such a text is in `scratch`, any other where it was. */
static slice checked_text(writer *w, const place *p, slice s)
{
    size_t bad = 0, n = 0;

    if (budget_step(&w->v->budget, s.len / 8 + 1)) state_check(w->L);
    count_output(w, s.len + 3);
    if (is_plain(s)) return s;
    if (utf8_valid(s) != s.len) refuse(w, p, "text that is not UTF-8");
    if (w->form == JSON_RESOURCE)
        for (size_t i = 0; i < s.len; i++) bad += is_dropped(s.ptr[i]);
    if (bad == 0) return s;
    char *copy = arena_alloc(&w->v->scratch, s.len - bad + 1);
    for (size_t i = 0; i < s.len; i++)
        if (!is_dropped(s.ptr[i])) copy[n++] = s.ptr[i];
    return (slice){ copy, n };
}

static slice copy_key(writer *w, const place *p, slice key)
{
    slice s = checked_text(w, p, key);

    return (slice){ copy_behind(w->mem, 0, s), s.len };
}

/* A value and its text, in one piece. */
static json *text_value(const writer *w, json_type type, slice text)
{
    char *both = copy_behind(w->mem, sizeof(json), text);
    json *v = (json *)(void *)both;

    *v = (json){ .type = type, .text = { both + sizeof *v, text.len } };
    return v;
}

static json *string_value(writer *w, const place *p, slice text)
{
    slice s = checked_text(w, p, text);

    return s.len == 0 && w->form == JSON_RESOURCE ? NULL : text_value(w, JSON_STRING, s);
}

static json *number_value(writer *w, slice text)
{
    count_output(w, text.len + 1);
    return text_value(w, JSON_NUMBER, text);
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
    return number_value(w, slice_of(text));
}

static json *integer_value(writer *w, lua_Integer n)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%lld", (long long)n);
    return number_value(w, slice_of(text));
}

/* ---- tables ---------------------------------------------------------------------- */

static json *any_value(writer *w, int index, const place *p, int depth);

/* A member of a table that is being written: its value stays on Lua's stack, for
 * the first of them; the others are looked up again. The key's text stays where it
 * is while the table holds it. */
typedef struct member {
    slice key;
    int   rank;
    int   value;                         /* index in the stack; 0: to be looked up */
} member;

#define MEMBERS_HELD 64

typedef struct shape {
    size_t  strings, positions;
    member *members;
    size_t  room;
} shape;

static int key_rank(slice key)
{
    switch (key.len) {
    case 12: return memcmp(key.ptr, "resourceType", 12) == 0 ? 0 : 3;
    case 2: return memcmp(key.ptr, "id", 2) == 0 ? 1 : 3;
    case 4: return memcmp(key.ptr, "meta", 4) == 0 ? 2 : 3;
    default: return 3;
    }
}

static int by_key(const void *a, const void *b)
{
    const member *x = a, *y = b;

    return x->rank != y->rank ? x->rank - y->rank : slice_cmp(x->key, y->key);
}

/* Most objects have a few members. */
static void sort_members(member *members, size_t count)
{
    if (count > 16) {
        qsort(members, count, sizeof *members, by_key);
        return;
    }
    for (size_t i = 1; i < count; i++) {
        member moved = members[i];
        size_t at = i;
        for (; at > 0 && by_key(&moved, &members[at - 1]) < 0; at--) members[at] = members[at - 1];
        members[at] = moved;
    }
}

static member *next_member(writer *w, shape *s)
{
    if (s->strings == s->room) {
        size_t room = s->room == 0 ? 16 : s->room * 2;
        member *more = arena_alloc(&w->v->scratch, room * sizeof *more);
        if (s->strings > 0) memcpy(more, s->members, s->strings * sizeof *more);
        s->members = more;
        s->room = room;
    }
    return &s->members[s->strings++];
}

/* Looks at all keys of the table at `t`; leaves values on the stack. */
static shape shape_of(writer *w, int t, const place *p)
{
    lua_State *L = w->L;
    shape s = { 0 };
    int top = lua_gettop(L);

    lua_pushnil(L);
    while (lua_next(L, t) != 0) {
        if (budget_step(&w->v->budget, 4)) state_check(L);
        if (lua_type(L, -2) == LUA_TSTRING) {
            member *m = next_member(w, &s);
            m->key.ptr = lua_tolstring(L, -2, &m->key.len);
            m->rank = key_rank(m->key);
            m->value = 0;
            if (s.strings <= MEMBERS_HELD) {
                m->value = top + 2 * (int)s.strings;
                lua_pushvalue(L, -2);    /* the key goes on top, where lua_next wants it */
            } else {
                lua_pop(L, 1);
            }
        } else if (lua_isinteger(L, -2) && lua_tointeger(L, -2) > 0) {
            s.positions++;
            lua_pop(L, 1);
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

    count_output(w, 2);
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

    count_output(w, 2);
    sort_members(s->members, s->strings);
    for (size_t i = 0; i < s->strings; i++) {
        const member *m = &s->members[i];
        place here = { .up = p, .key = m->key };
        if (m->value == 0) {
            lua_pushlstring(L, m->key.ptr, m->key.len);
            (void)lua_rawget(L, t);
        }
        json *v = any_value(w, m->value == 0 ? lua_gettop(L) : m->value, &here, depth + 1);
        if (m->value == 0) lua_pop(L, 1);
        if (v == NULL) continue;
        json_push(object, v);            /* not json_set: the keys are known to differ */
        v->key = copy_key(w, &here, m->key);
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
    luaL_checkstack(w->L, 2 * MEMBERS_HELD + 8, "nested too deeply");
    state_check(w->L);
    int top = lua_gettop(w->L);
    shape s = shape_of(w, t, p);
    json *out = NULL;
    if (s.positions > 0 || (s.strings == 0 && is_array_marked(w->L, t))) {
        if (s.positions > 0 || w->form == JSON_PLAIN || depth == 0) out = array_value(w, t, &s, p, depth);
    } else if (s.strings > 0 || w->form == JSON_PLAIN || depth == 0) {
        out = object_value(w, t, &s, p, depth);
    }
    lua_settop(w->L, top);
    return out;
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
        count_output(w, 5);
        return json_new(w->mem, lua_toboolean(L, index) ? JSON_TRUE : JSON_FALSE);
    case LUA_TNUMBER:
        return lua_isinteger(L, index) ? integer_value(w, lua_tointeger(L, index))
                                       : float_value(w, p, lua_tonumber(L, index));
    case LUA_TSTRING:
        text.ptr = lua_tolstring(L, index, &text.len);
        return string_value(w, p, text);
    case LUA_TTABLE: return table_value(w, index, p, depth);
    default: break;
    }
    if (null_is(L, index)) {
        if (w->form == JSON_RESOURCE && depth != 1) return NULL;
        count_output(w, 4);
        return json_new(w->mem, JSON_NULL);
    }
    if (decimal_is(L, index, &text)) return number_value(w, text);
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

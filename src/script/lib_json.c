/* script/lib_json.c -- require "json", and the two values that Lua lacks.
 *
 *   json.decode(text)    objects and arrays as tables; null as json.null; a number
 *                        that Lua would write otherwise (1.10) as a decimal
 *   json.encode(value)   compact, keys sorted
 *   json.number(text)    a decimal: written as it is, compared by its value
 *   json.array(t)        an empty table that is to be written []
 *   json.null            the same as hl7.null and host.null */
#include <stdlib.h>

#include "script/state.h"

/* ---- null ---------------------------------------------------------------------------- */

static const char null_key;              /* its address is the registry's key */

void null_push(lua_State *L) { (void)lua_rawgetp(L, LUA_REGISTRYINDEX, &null_key); }

bool null_is(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TUSERDATA) return false;
    index = lua_absindex(L, index);
    null_push(L);
    bool is = lua_rawequal(L, index, -1) != 0;
    lua_pop(L, 1);
    return is;
}

/* ---- decimals ------------------------------------------------------------------------- */

/* [-]digits[.digits][e[+-]digits], without leading zeros (RFC 8259, 6). */
bool decimal_valid(slice text)
{
    const char *at = text.ptr, *end = text.ptr + text.len, *from;

    if (at < end && *at == '-') at++;
    for (from = at; at < end && *at >= '0' && *at <= '9';) at++;
    if (at == from || (at - from > 1 && *from == '0')) return false;
    if (at < end && *at == '.') {
        for (from = ++at; at < end && *at >= '0' && *at <= '9';) at++;
        if (at == from) return false;
    }
    if (at < end && (*at | 32) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        for (from = at; at < end && *at >= '0' && *at <= '9';) at++;
        if (at == from) return false;
    }
    return at == end && text.len > 0;
}

/* The text is the userdata, with a NUL behind it. */
void decimal_push(lua_State *L, slice text)
{
    char *copy = lua_newuserdatauv(L, text.len + 1, 0);

    (void)slice_cstr(text, copy, text.len + 1);
    luaL_setmetatable(L, DECIMAL_TYPE);
}

bool decimal_is(lua_State *L, int index, slice *text)
{
    const char *own = luaL_testudata(L, index, DECIMAL_TYPE);

    if (own == NULL) return false;
    *text = (slice){ own, lua_rawlen(L, index) - 1 };
    return true;
}

static int decimal_tostring(lua_State *L)
{
    slice text;

    if (!decimal_is(L, 1, &text)) return luaL_typeerror(L, 1, DECIMAL_TYPE);
    lua_pushlstring(L, text.ptr, text.len);
    return 1;
}

static double number_of(lua_State *L, int index)
{
    slice text;
    return decimal_is(L, index, &text) ? strtod(text.ptr, NULL) : luaL_checknumber(L, index);
}

static int decimal_eq(lua_State *L)
{
    lua_pushboolean(L, number_of(L, 1) == number_of(L, 2));
    return 1;
}

static int decimal_lt(lua_State *L)
{
    lua_pushboolean(L, number_of(L, 1) < number_of(L, 2));
    return 1;
}

static int decimal_le(lua_State *L)
{
    lua_pushboolean(L, number_of(L, 1) <= number_of(L, 2));
    return 1;
}

static const luaL_Reg decimal_meta[] = {
    { "__tostring", decimal_tostring }, { "__eq", decimal_eq }, { "__lt", decimal_lt },
    { "__le", decimal_le },             { NULL, NULL }
};

/* ---- the module ------------------------------------------------------------------------ */

/* A value of two bytes ("1,") takes 64 once parsed. */
#define DECODE_SHARE 32

static int json_decode(lua_State *L)
{
    vm *v = vm_of(L);
    slice text;
    err_info why;
    json *out;

    text.ptr = luaL_checklstring(L, 1, &text.len);
    if (text.len > v->limits.memory / DECODE_SHARE)
        return luaL_error(L, "json: text of more than %I bytes", (LUAI_UACINT)(v->limits.memory / DECODE_SHARE));
    arena_reset(&v->scratch);
    if (json_parse(&v->scratch, text, &out, &why) != ERR_OK) return luaL_error(L, "json: %s", why.text);
    json_to_lua(L, out);
    return 1;
}

static int json_encode(lua_State *L)
{
    vm *v = vm_of(L);
    buf text = buf_in(v->mem);

    luaL_checkany(L, 1);
    json_write(&text, json_from_lua(L, 1, JSON_PLAIN, v->mem, "json"));
    state_check(L);
    lua_pushlstring(L, text.ptr, text.len);
    return 1;
}

static int json_number(lua_State *L)
{
    slice text;

    text.ptr = luaL_checklstring(L, 1, &text.len);
    if (!decimal_valid(text)) return luaL_error(L, "not a JSON number");
    decimal_push(L, text);
    return 1;
}

static int json_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    if (lua_getmetatable(L, 1) != 0) return luaL_error(L, "the table has a metatable");
    luaL_setmetatable(L, "json.array");
    return 1;
}

static int null_tostring(lua_State *L)
{
    lua_pushliteral(L, "null");
    return 1;
}

void lib_json_open(lua_State *L)
{
    static const luaL_Reg null_meta[] = { { "__tostring", null_tostring }, { NULL, NULL } };
    static const luaL_Reg functions[] = {
        { "decode", json_decode }, { "encode", json_encode }, { "number", json_number },
        { "array", json_array },   { NULL, NULL }
    };

    box_type(L, NULL_TYPE, null_meta, NULL);
    box_type(L, DECIMAL_TYPE, decimal_meta, NULL);
    box_type(L, "json.array", NULL, NULL);
    (void)lua_newuserdatauv(L, 0, 0);
    luaL_setmetatable(L, NULL_TYPE);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &null_key);

    luaL_newlib(L, functions);
    null_push(L);
    lua_setfield(L, -2, "null");
}

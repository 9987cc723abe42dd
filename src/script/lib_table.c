/* script/lib_table.c -- the table functions that loop inside C, with an eye on the
 * budget: a table can claim any length through __len. */
#include "script/state.h"

static void step(lua_State *L)
{
    if (budget_step(&vm_of(L)->budget, 8)) state_check(L);
}

/* table.concat(t [, sep [, i [, j]]]) */
static int table_concat(lua_State *L)
{
    slice sep;
    luaL_Buffer out;

    luaL_checktype(L, 1, LUA_TTABLE);
    sep.ptr = luaL_optlstring(L, 2, "", &sep.len);
    lua_Integer i = luaL_optinteger(L, 3, 1), last = luaL_opt(L, luaL_checkinteger, 4, luaL_len(L, 1));
    luaL_buffinit(L, &out);
    if (i <= last) {
        for (;; i++) {
            step(L);
            (void)lua_geti(L, 1, i);
            if (!lua_isstring(L, -1))
                return luaL_error(L, "invalid value (a %s at index %I) in table for 'concat'",
                                  luaL_typename(L, -1), (LUAI_UACINT)i);
            luaL_addvalue(&out);
            if (i == last) break;
            luaL_addlstring(&out, sep.ptr, sep.len);
        }
    }
    luaL_pushresult(&out);
    return 1;
}

/* Moves t[from..last] by one place; `by` is 1 upwards, from the end, or -1. */
static void shift(lua_State *L, lua_Integer from, lua_Integer last, int by)
{
    for (lua_Integer i = by > 0 ? last : from; i >= from && i <= last; i -= by) {
        step(L);
        (void)lua_geti(L, 1, i);
        lua_seti(L, 1, i + by);
    }
}

/* table.insert(t, [pos,] value) */
static int table_insert(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer end = luaL_len(L, 1) + 1, at = end;

    switch (lua_gettop(L)) {
    case 2: break;
    case 3:
        at = luaL_checkinteger(L, 2);
        luaL_argcheck(L, at >= 1 && at <= end, 2, "position out of bounds");
        shift(L, at, end - 1, 1);
        break;
    default: return luaL_error(L, "wrong number of arguments to 'insert'");
    }
    lua_seti(L, 1, at);
    return 0;
}

/* table.remove(t [, pos]) */
static int table_remove(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_Integer size = luaL_len(L, 1), at = luaL_optinteger(L, 2, size);

    if (lua_gettop(L) > 1)
        luaL_argcheck(L, at == size || (at >= 1 && at <= size + 1), 2, "position out of bounds");
    (void)lua_geti(L, 1, at);
    if (at < size) shift(L, at + 1, size, -1);
    else size = at;
    lua_pushnil(L);
    lua_seti(L, 1, size);
    return 1;
}

/* table.move(a, from, last, to [, b]) */
static int table_move(lua_State *L)
{
    int into = lua_isnoneornil(L, 5) ? 1 : 5;
    lua_Integer from = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3);
    lua_Integer to = luaL_checkinteger(L, 4);

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, into, LUA_TTABLE);
    if (last >= from) {
        luaL_argcheck(L, from > 0 || last < LUA_MAXINTEGER + from, 3, "too many elements to move");
        lua_Integer count = last - from + 1;
        luaL_argcheck(L, to <= LUA_MAXINTEGER - count + 1, 4, "destination wrap around");
        bool upwards = to > from && to <= last && into == 1;      /* the places overlap */
        for (lua_Integer i = 0; i < count; i++) {
            lua_Integer k = upwards ? count - 1 - i : i;
            step(L);
            (void)lua_geti(L, 1, from + k);
            lua_seti(L, into, to + k);
        }
    }
    lua_pushvalue(L, into);
    return 1;
}

/* Comparators in C for Lua's sort, which otherwise calls nothing that a hook
 * could interrupt. Upvalue 1 of the second: the script's. */
static int compare_default(lua_State *L)
{
    step(L);
    lua_pushboolean(L, lua_compare(L, 1, 2, LUA_OPLT));
    return 1;
}

static int compare_by(lua_State *L)
{
    step(L);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 1);
    return 1;
}

/* table.sort(t [, less]) -- upvalue 1: Lua's own. */
static int table_sort(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    if (lua_isnil(L, 2)) {
        lua_pop(L, 1);
        lua_pushcfunction(L, compare_default);
    } else if (lua_iscfunction(L, 2)) {
        lua_pushcclosure(L, compare_by, 1);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 2, 0);
    return 0;
}

void lib_table_open(lua_State *L)
{
    static const luaL_Reg own[] = {
        { "concat", table_concat }, { "insert", table_insert }, { "remove", table_remove },
        { "move", table_move },     { NULL, NULL }
    };

    luaL_setfuncs(L, own, 0);
    (void)lua_getfield(L, -1, "sort");
    lua_pushcclosure(L, table_sort, 1);
    lua_setfield(L, -2, "sort");
}

/* script/lib_table.c -- the table functions that loop inside C, with an eye on the
 * budget (a table can claim any length through __len), and a sort without a clock. */
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

/* ---- sorting -------------------------------------------------------------------
 *
 * A merge sort, so that what compares as equal keeps its order. Lua's own sort
 * chooses pivots by the clock when its halves get uneven: the same message would
 * give other bytes the next time. `less` is at 2, or nil. */

static bool is_less(lua_State *L, int a, int b)
{
    step(L);
    if (lua_isnil(L, 2)) return lua_compare(L, a, b, LUA_OPLT) != 0;
    lua_pushvalue(L, 2);
    lua_pushvalue(L, a);
    lua_pushvalue(L, b);
    lua_call(L, 2, 1);
    bool less = lua_toboolean(L, -1) != 0;
    lua_pop(L, 1);
    return less;
}

/* Puts from[low] to from[middle - 1] and from[middle] to from[high - 1], each in order,
 * into the same places of `to`, all in order. */
static void merge(lua_State *L, int from, int to, lua_Integer low, lua_Integer middle, lua_Integer high)
{
    int left = lua_gettop(L) + 1, right = left + 1;
    lua_Integer a = low, b = middle;

    (void)lua_rawgeti(L, from, a);
    (void)lua_rawgeti(L, from, b);
    for (lua_Integer at = low; at < high; at++) {
        bool later = a == middle || (b < high && is_less(L, right, left));
        lua_pushvalue(L, later ? right : left);
        lua_rawseti(L, to, at);
        (void)lua_rawgeti(L, from, later ? ++b : ++a);
        lua_replace(L, later ? right : left);
    }
    lua_settop(L, left - 1);
}

static lua_Integer at_most(lua_Integer n, lua_Integer most) { return n < most ? n : most; }

/* table.sort(t [, less]) -- written back when all is done. */
static int table_sort(lua_State *L)
{
    int from = 3, to = 4;

    luaL_checktype(L, 1, LUA_TTABLE);
    if (!lua_isnoneornil(L, 2)) luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_settop(L, 2);
    lua_Integer count = luaL_len(L, 1), end = count + 1;
    luaL_argcheck(L, count < INT32_MAX, 1, "array too big");
    if (count < 2) return 0;
    lua_createtable(L, (int)count, 0);
    lua_createtable(L, (int)count, 0);
    for (lua_Integer i = 1; i < end; i++) {
        step(L);
        (void)lua_geti(L, 1, i);
        lua_rawseti(L, from, i);
    }
    for (lua_Integer width = 1; width < count; width *= 2) {
        for (lua_Integer low = 1; low < end; low += 2 * width)
            merge(L, from, to, low, at_most(low + width, end), at_most(low + 2 * width, end));
        from = to;
        to = 7 - from;
    }
    for (lua_Integer i = 1; i < end; i++) {
        step(L);
        (void)lua_rawgeti(L, from, i);
        lua_seti(L, 1, i);
    }
    return 0;
}

void lib_table_open(lua_State *L)
{
    static const luaL_Reg own[] = {
        { "concat", table_concat }, { "insert", table_insert }, { "remove", table_remove },
        { "move", table_move },     { "sort", table_sort },     { NULL, NULL }
    };

    luaL_setfuncs(L, own, 0);
}

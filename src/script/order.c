/* script/order.c -- pairs and next in one order: numbers ascending, then strings
 * by their bytes, then false and true.
 *
 * Lua's own order follows string hashes, which are seeded anew in each process;
 * a script that walks a table would give other bytes on each node. Other keys
 * (tables, functions) have no order that could be kept, and are refused. */
#include "script/state.h"

typedef enum { KEY_NUMBER, KEY_STRING, KEY_BOOLEAN } key_rank;

typedef struct order_key {
    key_rank    rank;
    bool        is_integer;
    lua_Integer integer;                 /* 0 and 1 for booleans */
    lua_Number  number;
    slice       text;                    /* of a key that its table keeps alive */
} order_key;

static order_key key_at(lua_State *L, int index)
{
    order_key k = { .rank = KEY_NUMBER };

    switch (lua_type(L, index)) {
    case LUA_TNUMBER:
        k.is_integer = lua_isinteger(L, index) != 0;
        if (k.is_integer) k.integer = lua_tointeger(L, index);
        else k.number = lua_tonumber(L, index);
        break;
    case LUA_TSTRING:
        k.rank = KEY_STRING;
        k.text.ptr = lua_tolstring(L, index, &k.text.len);
        break;
    case LUA_TBOOLEAN:
        k.rank = KEY_BOOLEAN;
        k.integer = lua_toboolean(L, index);
        break;
    default:
        (void)luaL_error(L, "a table with a %s as a key has no stable order", luaL_typename(L, index));
    }
    return k;
}

static void key_push(lua_State *L, const order_key *k)
{
    switch (k->rank) {
    case KEY_NUMBER:
        if (k->is_integer) lua_pushinteger(L, k->integer);
        else lua_pushnumber(L, k->number);
        break;
    case KEY_STRING: lua_pushlstring(L, k->text.ptr, k->text.len); break;
    case KEY_BOOLEAN: lua_pushboolean(L, k->integer != 0); break;
    }
}

static bool key_less(lua_State *L, const order_key *a, const order_key *b)
{
    if (a->rank != b->rank) return a->rank < b->rank;
    if (a->rank == KEY_STRING) return slice_cmp(a->text, b->text) < 0;
    if (a->rank == KEY_BOOLEAN || (a->is_integer && b->is_integer)) return a->integer < b->integer;
    if (!a->is_integer && !b->is_integer) return a->number < b->number;
    key_push(L, a);                      /* an integer and a float: Lua compares them exactly */
    key_push(L, b);
    bool less = lua_compare(L, -2, -1, LUA_OPLT) != 0;
    lua_pop(L, 2);
    return less;
}

/* Heapsort: in place, so that an error may leave at any step. */
static void sift(lua_State *L, order_key *keys, size_t at, size_t count)
{
    order_key moved = keys[at];

    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && key_less(L, &keys[child], &keys[child + 1])) child++;
        if (!key_less(L, &moved, &keys[child])) break;
        keys[at] = keys[child];
    }
    keys[at] = moved;
}

static void sort_keys(lua_State *L, order_key *keys, size_t count)
{
    budget *b = &vm_of(L)->budget;

    if (count < 2) return;
    for (size_t i = count / 2; i-- > 0;) {
        if (budget_step(b, 16)) state_check(L);
        sift(L, keys, i, count);
    }
    for (size_t i = count; --i > 0;) {
        order_key first = keys[0];
        keys[0] = keys[i];
        keys[i] = first;
        if (budget_step(b, 64)) state_check(L);
        sift(L, keys, 0, i);
    }
}

static size_t count_keys(lua_State *L, int t, bool *positions)
{
    budget *b = &vm_of(L)->budget;
    lua_Integer highest = 0;
    size_t count = 0;

    *positions = true;
    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1), count++) {
        if (budget_step(b, 4)) state_check(L);
        if (!*positions) continue;
        if (!lua_isinteger(L, -2) || lua_tointeger(L, -2) < 1) *positions = false;
        else if (lua_tointeger(L, -2) > highest) highest = lua_tointeger(L, -2);
    }
    if ((lua_Unsigned)highest != count) *positions = false;
    return count;
}

/* Pushes an array of the keys of the table at `t`, in order. */
static void push_keys(lua_State *L, int t, size_t count)
{
    order_key *keys = lua_newuserdatauv(L, (count + 1) * sizeof *keys, 0);
    size_t n = 0;

    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1))
        keys[n++] = key_at(L, -2);
    sort_keys(L, keys, n);
    lua_createtable(L, n > INT32_MAX ? 0 : (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        key_push(L, &keys[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_remove(L, -2);
}

/* The iterators: upvalues are the table, how far it got and, for keys that are
 * not just 1 to n, the array of keys. A key that was removed on the way is
 * stepped over. */
static int step_positions(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(2)) + 1;
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(3));

    for (; i <= last; i++) {
        lua_pushinteger(L, i);
        if (lua_rawgeti(L, lua_upvalueindex(1), i) == LUA_TNIL) {
            lua_pop(L, 2);
            continue;
        }
        lua_pushinteger(L, i);
        lua_replace(L, lua_upvalueindex(2));
        return 2;
    }
    lua_pushnil(L);
    return 1;
}

static int step_keys(lua_State *L)
{
    lua_Integer i = lua_tointeger(L, lua_upvalueindex(2));

    while (lua_rawgeti(L, lua_upvalueindex(3), ++i) != LUA_TNIL) {
        lua_pushvalue(L, -1);
        if (lua_rawget(L, lua_upvalueindex(1)) == LUA_TNIL) {
            lua_pop(L, 2);
            continue;
        }
        lua_pushinteger(L, i);
        lua_replace(L, lua_upvalueindex(2));
        return 2;
    }
    return 1;
}

/* pairs(t) -- in order; a table's __pairs goes first, as in Lua. */
int order_pairs(lua_State *L)                                  /* [-1, +3, e] */
{
    bool positions;

    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs") != LUA_TNIL) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
        return 3;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    size_t count = count_keys(L, 1, &positions);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, 0);
    if (positions) {
        lua_pushinteger(L, (lua_Integer)count);
        lua_pushcclosure(L, step_positions, 3);
    } else {
        push_keys(L, 1, count);
        lua_pushcclosure(L, step_keys, 3);
    }
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

/* next(t [, key]) -- keeps no place in the table, so that each call looks at all
 * keys: for `next(t) == nil`; walking is what pairs is for. */
int order_next(lua_State *L)                                   /* [-2, +2, e] */
{
    budget *b = &vm_of(L)->budget;
    order_key best = { 0 }, after = { 0 };
    bool found = false;

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 2);
    bool from_start = lua_isnil(L, 2);
    if (!from_start) after = key_at(L, 2);
    for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
        order_key k = key_at(L, -2);
        if (budget_step(b, 4)) state_check(L);
        if (!from_start && !key_less(L, &after, &k)) continue;
        if (found && !key_less(L, &k, &best)) continue;
        best = k;
        found = true;
    }
    if (!found) {
        lua_pushnil(L);
        return 1;
    }
    key_push(L, &best);
    lua_pushvalue(L, -1);
    (void)lua_rawget(L, 1);
    return 2;
}

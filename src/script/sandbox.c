/* script/sandbox.c -- what a script finds: an allow-list of globals, none of them
 * writable, none that reaches outside, shows an address or outlives a budget. */
#include <lualib.h>

#include "script/state.h"

/* ---- read-only tables ----------------------------------------------------------
 *
 * An empty table in front of the real one: what is read is found behind it, what
 * is written raises. The metatable is locked, and rawset refuses whatever has a
 * locked metatable. */

static int frozen_newindex(lua_State *L)
{
    return luaL_error(L, "'%s' cannot be set: the table is read-only", state_push_text(L, 2).ptr);
}

/* What pairs returns beside the iterator is the view: the table itself could be written. */
static int frozen_pairs(lua_State *L)
{
    lua_settop(L, 1);
    lua_pushcfunction(L, order_pairs);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_call(L, 1, 1);
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static int frozen_len(lua_State *L)
{
    lua_pushinteger(L, (lua_Integer)lua_rawlen(L, lua_upvalueindex(1)));
    return 1;
}

void sandbox_freeze(lua_State *L)
{
    int real = lua_gettop(L);

    lua_newtable(L);
    lua_createtable(L, 0, 5);
    lua_pushvalue(L, real);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, frozen_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, real);
    lua_pushcclosure(L, frozen_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushvalue(L, real);
    lua_pushcclosure(L, frozen_len, 1);
    lua_setfield(L, -2, "__len");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_replace(L, real);
}

void sandbox_freeze_deep(lua_State *L)
{
    int t = lua_gettop(L);

    luaL_checkstack(L, 8, "nested too deeply");
    for (lua_pushnil(L); lua_next(L, t) != 0;) {
        if (lua_type(L, -1) != LUA_TTABLE) {
            lua_pop(L, 1);
            continue;
        }
        sandbox_freeze_deep(L);
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, t);                /* a field that is there: the walk goes on */
    }
    sandbox_freeze(L);
}

static bool is_locked(lua_State *L, int index)
{
    if (luaL_getmetafield(L, index, "__metatable") == LUA_TNIL) return false;
    lua_pop(L, 1);
    return true;
}

void box_type(lua_State *L, const char *type, const luaL_Reg *meta, const luaL_Reg *methods)
{
    (void)luaL_newmetatable(L, type);
    lua_pushliteral(L, "locked");        /* scripts cannot patch it */
    lua_setfield(L, -2, "__metatable");
    if (meta != NULL) luaL_setfuncs(L, meta, 0);
    if (methods != NULL) {
        lua_newtable(L);
        luaL_setfuncs(L, methods, 0);
        lua_setfield(L, -2, "__index");
    }
    lua_pop(L, 1);
}

box_kind box_kind_of(lua_State *L, const char *type)
{
    box_kind kind;

    (void)luaL_getmetatable(L, type);
    kind.meta = lua_topointer(L, -1);
    kind.ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return kind;
}

void *box_new(lua_State *L, const box_kind *kind, size_t size)
{
    void *box = lua_newuserdatauv(L, size, 0);

    (void)lua_rawgeti(L, LUA_REGISTRYINDEX, kind->ref);
    (void)lua_setmetatable(L, -2);
    return box;
}

void *box_check(lua_State *L, int index, const box_kind *kind, const char *type)
{
    void *box = lua_touserdata(L, index);

    if (box != NULL && lua_getmetatable(L, index) != 0) {
        bool same = lua_topointer(L, -1) == kind->meta;
        lua_pop(L, 1);
        if (same) return box;
    }
    return luaL_checkudata(L, index, type);       /* which says what it is instead */
}

/* ---- base functions that differ from Lua's --------------------------------------- */

static int base_tostring(lua_State *L)
{
    luaL_checkany(L, 1);
    (void)state_push_text(L, 1);
    return 1;
}

/* tonumber -- as in Lua; a decimal gives its value. */
static int base_tonumber(lua_State *L)
{
    slice text;

    if (decimal_is(L, 1, &text)) {
        if (lua_stringtonumber(L, text.ptr) == 0) lua_pushnil(L);
        return 1;
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 1, 1);
    return 1;
}

/* setmetatable -- without what runs at a time that the collector chooses. */
static int base_setmetatable(lua_State *L)
{
    static const char *const refused[] = { "__gc", "__close", "__mode" };
    int type = lua_type(L, 2);

    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_argexpected(L, type == LUA_TNIL || type == LUA_TTABLE, 2, "nil or table");
    if (is_locked(L, 1)) return luaL_error(L, "cannot change a protected metatable");
    for (size_t i = 0; type == LUA_TTABLE && i < countof(refused); i++) {
        lua_pushstring(L, refused[i]);
        if (lua_rawget(L, 2) != LUA_TNIL) return luaL_error(L, "%s is not for scripts", refused[i]);
        lua_pop(L, 1);
    }
    lua_settop(L, 2);
    lua_setmetatable(L, 1);
    return 1;
}

static int base_rawset(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checkany(L, 2);
    luaL_checkany(L, 3);
    if (is_locked(L, 1)) return luaL_error(L, "the table is read-only");
    lua_settop(L, 3);
    lua_rawset(L, 1);
    return 1;
}

/* An error that ended a protected call: running out of memory depends on what
 * was collected when, so no script may go on after it. */
static void after_protected(lua_State *L, int status)
{
    vm *v = vm_of(L);

    if (status == LUA_ERRMEM) budget_spend(&v->budget, BUDGET_MEMORY);
    state_check(L);
}

static int base_pcall(lua_State *L)
{
    int status;

    luaL_checkany(L, 1);
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
    after_protected(L, status);
    if (status == LUA_OK) return lua_gettop(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

/* Upvalue 1: the script's handler. An error of the budget's hook is handled while
 * Lua has hooks switched off, so that the script's handler could run for ever. */
static int handle_error(lua_State *L)
{
    if (vm_of(L)->budget.spent != BUDGET_LEFT) return 1;
    lua_settop(L, 1);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, 1, 1);
    return 1;
}

/* xpcall(f, handler, …) */
static int base_xpcall(lua_State *L)
{
    int status, args = lua_gettop(L) - 2;

    luaL_checktype(L, 2, LUA_TFUNCTION);
    lua_pushvalue(L, 2);
    lua_pushcclosure(L, handle_error, 1);
    lua_replace(L, 2);
    lua_pushboolean(L, 1);
    lua_pushvalue(L, 1);
    lua_rotate(L, 3, 2);                 /* f, handler, true, f, … */
    status = lua_pcall(L, args, LUA_MULTRET, 2);
    after_protected(L, status);
    if (status == LUA_OK) return lua_gettop(L) - 2;
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
}

/* ---- putting it together ---------------------------------------------------------- */

/* Moves the allowed functions from the library on the top into a new table. */
static void keep_only(lua_State *L, const char *const *names)
{
    lua_newtable(L);
    for (; *names != NULL; names++) {
        (void)lua_getfield(L, -2, *names);
        lua_setfield(L, -2, *names);
    }
    lua_remove(L, -2);
}

static void open_base(lua_State *L, int env)
{
    static const char *const kept[] = { "assert", "error", "ipairs", "select", "type", "rawequal",
                                        "rawlen", "rawget", "getmetatable", NULL };
    static const luaL_Reg own[] = {
        { "tostring", base_tostring }, { "setmetatable", base_setmetatable },
        { "rawset", base_rawset },     { "pcall", base_pcall },
        { "xpcall", base_xpcall },     { "pairs", order_pairs },
        { "next", order_next },        { "require", lib_require },
        { NULL, NULL }
    };

    luaL_requiref(L, LUA_GNAME, luaopen_base, 0);
    for (const char *const *name = kept; *name != NULL; name++) {
        (void)lua_getfield(L, -1, *name);
        lua_setfield(L, env, *name);
    }
    (void)lua_getfield(L, -1, "tonumber");
    lua_pushcclosure(L, base_tonumber, 1);
    lua_setfield(L, env, "tonumber");
    lua_pop(L, 1);
    lua_pushvalue(L, env);
    luaL_setfuncs(L, own, 0);
    lua_pop(L, 1);
    lua_pushliteral(L, LUA_VERSION);
    lua_setfield(L, env, "_VERSION");
}

static void open_string(lua_State *L, int env)
{
    luaL_requiref(L, LUA_STRLIBNAME, luaopen_string, 0);
    lib_string_open(L);
    lua_pushliteral(L, "");              /* all strings share one metatable */
    (void)lua_getmetatable(L, -1);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushliteral(L, "locked");
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 2);
    sandbox_freeze(L);
    lua_setfield(L, env, LUA_STRLIBNAME);
}

static void open_rest(lua_State *L, int env)
{
    static const char *const utf8_kept[] = { "char", "charpattern", "codepoint", "codes", "len",
                                             "offset", NULL };
    luaL_requiref(L, LUA_TABLIBNAME, luaopen_table, 0);
    lib_table_open(L);
    sandbox_freeze(L);
    lua_setfield(L, env, LUA_TABLIBNAME);

    luaL_requiref(L, LUA_MATHLIBNAME, luaopen_math, 0);
    lua_pushnil(L);
    lua_setfield(L, -2, "random");
    lua_pushnil(L);
    lua_setfield(L, -2, "randomseed");
    sandbox_freeze(L);
    lua_setfield(L, env, LUA_MATHLIBNAME);

    luaL_requiref(L, LUA_UTF8LIBNAME, luaopen_utf8, 0);
    keep_only(L, utf8_kept);
    sandbox_freeze(L);
    lua_setfield(L, env, LUA_UTF8LIBNAME);
}

/* The modules that are C, under their names in the registry table "modules". */
static void open_modules(lua_State *L)
{
    static const struct { const char *name; void (*open)(lua_State *L); } modules[] = {
        { "json", lib_json_open }, { "host", lib_host_open }, { "hl7", lib_msg_open },
    };

    lua_newtable(L);
    for (size_t i = 0; i < countof(modules); i++) {
        modules[i].open(L);
        sandbox_freeze(L);
        lua_setfield(L, -2, modules[i].name);
    }
    lua_setfield(L, LUA_REGISTRYINDEX, "modules");
}

static int env_newindex(lua_State *L)
{
    return luaL_error(L, "global '%s' cannot be set: write 'local' in front of it",
                      state_push_text(L, 2).ptr);
}

void sandbox_open(lua_State *L)
{
    int env;

    lua_newtable(L);
    env = lua_gettop(L);
    open_base(L, env);
    open_string(L, env);
    open_rest(L, env);
    lib_value_open(L);
    lib_out_open(L);
    lib_row_open(L);
    open_modules(L);

    sandbox_freeze(L);
    (void)lua_getmetatable(L, -1);
    lua_pushcfunction(L, env_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pop(L, 1);
    /* Chunks get their _ENV from here; Lua's own tables become unreachable. */
    lua_rawseti(L, LUA_REGISTRYINDEX, LUA_RIDX_GLOBALS);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, LUA_LOADED_TABLE);
}

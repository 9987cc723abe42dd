/* script/require.c -- modules from the pack's archive, loaded once in a state.
 *
 * "modules" in the registry holds them by name and by file: a base pack's module
 * is the same one whether it is named shortly or in full. */
#include "script/pack_inside.h"
#include "script/state.h"

/* The mark of a module that is being loaded. */
static const char loading;

static void load_file(lua_State *L, slice path, slice text)
{
    const char *chunk = lua_pushfstring(L, "@%s", path.ptr);

    if (luaL_loadbufferx(L, text.ptr, text.len, chunk, "t") != LUA_OK) (void)lua_error(L);
    lua_remove(L, -2);
}

void require_push(lua_State *L, slice name)
{
    vm *v = vm_of(L);
    slice path = SLICE_NONE, text = SLICE_NONE;
    int base = lua_gettop(L);

    luaL_checkstack(L, 8, "too many modules within each other");
    (void)lua_getfield(L, LUA_REGISTRYINDEX, "modules");
    lua_pushlstring(L, name.ptr, name.len);
    if (lua_rawget(L, base + 1) == LUA_TNIL) {
        if (v->pack == NULL || !pack_module(v->pack, name, &path, &text)) {
            lua_pushlstring(L, name.ptr, name.len);
            (void)luaL_error(L, "no module '%s' in the pack, in what it uses or in the library",
                             lua_tostring(L, -1));
        }
        lua_pop(L, 1);
        lua_pushlstring(L, path.ptr, path.len);
        lua_pushvalue(L, -1);            /* modules, path, module */
        if (lua_rawget(L, base + 1) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_pushlightuserdata(L, (void *)(uintptr_t)&loading);
            lua_rawset(L, base + 1);
            load_file(L, path, text);
            lua_call(L, 0, 1);
            if (lua_isnil(L, -1)) {
                lua_pop(L, 1);
                lua_pushboolean(L, 1);
            }
            lua_pushvalue(L, base + 2);
            lua_pushvalue(L, -2);
            lua_rawset(L, base + 1);
        }
        if (lua_type(L, -1) != LUA_TLIGHTUSERDATA) {
            lua_pushlstring(L, name.ptr, name.len);
            lua_pushvalue(L, -2);
            lua_rawset(L, base + 1);
        }
    }
    if (lua_type(L, -1) == LUA_TLIGHTUSERDATA) {
        lua_pushlstring(L, name.ptr, name.len);
        (void)luaL_error(L, "module '%s' requires itself, or failed to load before", lua_tostring(L, -1));
    }
    lua_replace(L, base + 1);
    lua_settop(L, base + 1);
}

/* require "name" */
int lib_require(lua_State *L)
{
    slice name;

    name.ptr = luaL_checklstring(L, 1, &name.len);
    lua_settop(L, 1);
    require_push(L, name);
    return 1;
}

/* script/require.c -- modules from the pack's archive, loaded once in a state.
 *
 * "modules" in the registry holds them by name and by file: a base pack's module
 * is the same one whether it is named shortly or in full. */
#include <stdlib.h>

#include "script/pack_inside.h"
#include "script/state.h"

/* The mark of a module that is being loaded. */
static const char loading;

static int keep_code(lua_State *L, const void *bytes, size_t size, void *out)
{
    (void)L;
    buf_put(out, (slice){ bytes, size });
    return 0;
}

/* Compiled by the first state that loads it: a pack is opened once, but a state for each connector. */
static void load_file(lua_State *L, pack_entry *f)
{
    const char *chunk = lua_pushfstring(L, "@%s", f->path.ptr);
    const compiled *have = atomic_load(&f->code);
    buf code = { 0 };

    if (have != NULL) {
        if (luaL_loadbufferx(L, have->bytes, have->len, chunk, "b") != LUA_OK) (void)lua_error(L);
    } else {
        if (luaL_loadbufferx(L, f->text.ptr, f->text.len, chunk, "t") != LUA_OK) (void)lua_error(L);
        (void)lua_dump(L, keep_code, &code, 0);          /* raises nothing */
        pack_entry_compiled(f, buf_slice(&code));
        buf_free(&code);
    }
    lua_remove(L, -2);
}

static _Noreturn void no_module(lua_State *L, slice name)
{
    lua_pushlstring(L, name.ptr, name.len);
    (void)luaL_error(L, "no module '%s' in the pack, in what it uses or in the library", lua_tostring(L, -1));
    abort();                             /* it raised */
}

void require_push(lua_State *L, slice name)
{
    vm *v = vm_of(L);
    pack_entry *f = NULL;
    int base = lua_gettop(L);

    luaL_checkstack(L, 8, "too many modules within each other");
    (void)lua_getfield(L, LUA_REGISTRYINDEX, "modules");
    lua_pushlstring(L, name.ptr, name.len);
    if (lua_rawget(L, base + 1) == LUA_TNIL) {
        if (v->pack != NULL) f = pack_module(v->pack, name);
        if (f == NULL) no_module(L, name);
        lua_pop(L, 1);
        lua_pushlstring(L, f->path.ptr, f->path.len);
        lua_pushvalue(L, -1);            /* modules, path, module */
        if (lua_rawget(L, base + 1) == LUA_TNIL) {
            lua_pop(L, 1);
            lua_pushvalue(L, -1);
            lua_pushlightuserdata(L, (void *)(uintptr_t)&loading);
            lua_rawset(L, base + 1);
            load_file(L, f);
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

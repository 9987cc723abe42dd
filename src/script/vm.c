/* script/vm.c -- a state with a pack in it, and the run of one message. */
#include "script/vm.h"

#include "hl7/head.h"
#include "script/pack_inside.h"
#include "script/state.h"

const vm_limits VM_DEFAULT_LIMITS = { (size_t)64 << 20, 50000000u, 5000000000u, (size_t)16 << 20 };

/* Loading runs every module's text once: rarely, so it may take longer. */
#define LOAD_CPU_NS 1000000000u
#define LOAD_WALL_NS 10000000000u

/* ---- opening --------------------------------------------------------------------------- */

static int load_body(lua_State *L)
{
    const json *settings = lua_touserdata(L, 1);
    vm *v = vm_of(L);

    json_to_lua(L, settings);
    sandbox_freeze_deep(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "settings");
    lua_createtable(L, (int)pack_handler_count(v->pack), 0);
    for (size_t i = 0; i < pack_handler_count(v->pack); i++) {
        const pack_handler *h = pack_handler_at(v->pack, i);
        require_push(L, h->module);
        if (lua_type(L, -1) != LUA_TFUNCTION) {
            const char *type = luaL_typename(L, -1);
            lua_pushlstring(L, h->module.ptr, h->module.len);
            return luaL_error(L, "handler '%s' returns a %s, not a function", lua_tostring(L, -1), type);
        }
        lua_rawseti(L, -2, (lua_Integer)i);
    }
    lua_setfield(L, LUA_REGISTRYINDEX, "handlers");
    return 0;
}

static err load_pack(vm *v, const vm_scope *scope, err_info *why)
{
    arena mem = { 0 };
    json *settings;
    err e;

    v->scope = (vm_scope){
        .tenant = arena_dup(&v->own, scope->tenant),
        .connector_id = arena_dup(&v->own, scope->connector_id),
        .connector_name = arena_dup(&v->own, scope->connector_name),
        .timezone = arena_dup(&v->own, scope->timezone),
        .settings = SLICE_NONE,
        .tables = arena_dup(&v->own, scope->tables),
    };
    if (scope->timezone.len > 0 && (e = zone_get(scope->timezone, &v->zone, why)) != ERR_OK) return e;
    if ((e = code_overlay_read(&v->own, v->scope.tables, &v->overlay, why)) != ERR_OK) return e;
    e = pack_settings(v->pack, &mem, scope->settings, &settings, why);
    if (e == ERR_OK) e = state_call(v, load_body, settings, &mem, LOAD_CPU_NS, LOAD_WALL_NS, why);
    arena_free(&mem);
    return e;
}

err vm_open(pack *p, const vm_scope *scope, const vm_limits *limits, vm **out, err_info *why)
{
    vm *v;
    err e = state_open(limits, &v, why);

    if (e != ERR_OK) return e;
    v->pack = pack_keep(p);
    if ((e = load_pack(v, scope, why)) != ERR_OK) {
        vm_close(v);
        return e;
    }
    vm_rest(v);
    *out = v;
    return ERR_OK;
}

void vm_close(vm *v)
{
    pack *p = v == NULL ? NULL : v->pack;

    state_close(v);
    pack_drop(p);
}

size_t vm_memory(const vm *v) { return heap_held(&v->heap) + v->own.held + v->scratch.held; }

void vm_rest(vm *v)
{
    (void)lua_gc(v->L, LUA_GCCOLLECT);
    heap_trim(&v->heap);
    arena_free(&v->scratch);
    v->settled = v->heap.used;
}

slice vm_trace(const vm *v) { return slice_of(v->trace); }

/* ---- running ----------------------------------------------------------------------------- */

static int run_body(lua_State *L)
{
    vm *v = vm_of(L);
    size_t handler = *(const size_t *)lua_touserdata(L, 1);

    (void)lua_getfield(L, LUA_REGISTRYINDEX, "handlers");
    (void)lua_rawgeti(L, -1, (lua_Integer)handler);
    msg_push(L, v->input->msg);
    out_push(L);
    lua_call(L, 2, 0);
    return 0;
}

err vm_transform(vm *v, const vm_input *input, arena *mem, script_result *out, err_info *why)
{
    hl7_head head;

    *out = (script_result){ 0 };
    hl7_head_read(input->msg, &head);
    slice type = hl7_head_type(mem, &head);
    size_t handler = pack_handler_find(v->pack, type);
    if (handler == SIZE_MAX) {
        out->skipped = true;
        out->reason = arena_printf(mem, "no handler for %.*s", (int)type.len, type.ptr);
        return ERR_OK;
    }
    v->input = input;
    v->result = (run_result){ out, &out->resources, &out->hl7, &out->events, 0 };
    err e = state_call(v, run_body, &handler, mem, v->limits.cpu_ns, v->limits.wall_ns, why);
    v->input = NULL;
    v->result = (run_result){ 0 };
    if (e != ERR_OK) *out = (script_result){ 0 };
    if (out->skipped || out->refused) {  /* events tell of it; nothing is delivered */
        out->resources = NULL;
        out->hl7 = NULL;
        out->resource_count = out->hl7_count = 0;
    }
    return e;
}

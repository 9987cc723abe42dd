/* script/state.c -- a Lua state's memory account, and the one gate through which
 * Lua is run. */
#include "script/state.h"

#include <stdio.h>
#include <stdlib.h>

/* Garbage that a state may gather between two collections. Nothing is collected
 * while a script runs, unless its memory limit is near: a run then costs the
 * same whatever ran before it. Between runs all is collected at once, which costs
 * less for each message than the generational steps do. */
#define GARBAGE_KEPT ((size_t)2 << 20)

static int on_panic(lua_State *L)
{
    die("script: an error outside of the gate: %s", lua_tostring(L, -1));
    return 0;
}

/* ---- text of values ---------------------------------------------------------- */

slice state_push_text(lua_State *L, int index)
{
    slice text;

    index = lua_absindex(L, index);
    if (luaL_callmeta(L, index, "__tostring") != 0) {
        if (!lua_isstring(L, -1)) (void)luaL_error(L, "'__tostring' must return a string");
    } else if (lua_type(L, index) <= LUA_TSTRING && lua_type(L, index) != LUA_TLIGHTUSERDATA) {
        (void)luaL_tolstring(L, index, NULL);
    } else if (luaL_getmetafield(L, index, "__name") != LUA_TSTRING) {
        lua_pushstring(L, luaL_typename(L, index));
    }
    text.ptr = lua_tolstring(L, -1, &text.len);
    return text;
}

#define SPENT_MAX 80

static const char *spent_text(const vm *v, budget_kind kind, char out[SPENT_MAX])
{
    switch (kind) {
    case BUDGET_LEFT: out[0] = '\0'; break;
    case BUDGET_CPU:
        (void)snprintf(out, SPENT_MAX, "CPU time budget of %g ms spent", (double)v->cpu_ns / 1e6);
        break;
    case BUDGET_WALL:
        (void)snprintf(out, SPENT_MAX, "wall time budget of %g s spent", (double)v->wall_ns / 1e9);
        break;
    case BUDGET_MEMORY:
        (void)snprintf(out, SPENT_MAX, "memory budget of %g MiB spent", (double)v->limits.memory / 1048576);
        break;
    case BUDGET_OUTPUT:
        (void)snprintf(out, SPENT_MAX, "output budget of %g MiB spent", (double)v->limits.output / 1048576);
        break;
    }
    return out;
}

void state_push_spent(lua_State *L, budget_kind kind)
{
    char text[SPENT_MAX];

    lua_pushstring(L, spent_text(vm_of(L), kind, text));
}

void state_check(lua_State *L)
{
    vm *v = vm_of(L);

    if (v->budget.spent == BUDGET_LEFT && v->mem != NULL && v->mem->held > v->held_before &&
        v->mem->held - v->held_before > v->limits.memory)
        budget_spend(&v->budget, BUDGET_MEMORY);
    if (v->budget.spent == BUDGET_LEFT) return;
    luaL_where(L, 1);
    state_push_spent(L, (budget_kind)v->budget.spent);
    lua_concat(L, 2);
    (void)lua_error(L);
}

void state_output(lua_State *L, size_t bytes)
{
    vm *v = vm_of(L);

    if (bytes > v->limits.output - v->result.bytes) budget_spend(&v->budget, BUDGET_OUTPUT);
    else v->result.bytes += bytes;
    state_check(L);
}

/* ---- the gate ---------------------------------------------------------------- */

/* Keeps the error and where it came from in the vm, cut to fit; still inside
 * the budget, since the error's __tostring is the script's. */
static int on_error(lua_State *L)
{
    vm *v = vm_of(L);
    slice text;

    if (lua_type(L, 1) == LUA_TSTRING || luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL) {
        lua_settop(L, 1);
        text = state_push_text(L, 1);
    } else {
        text.ptr = lua_pushfstring(L, "error object is a %s value", luaL_typename(L, 1));
        text.len = strlen(text.ptr);
    }
    (void)slice_cstr(text, v->error, sizeof v->error);
    luaL_traceback(L, L, NULL, 1);
    (void)slice_cstr(slice_of(lua_tostring(L, -1)), v->trace, sizeof v->trace);
    return 1;
}

static err gate_failed(vm *v, int status, err_info *why)
{
    char text[SPENT_MAX];

    if (status == LUA_ERRMEM && v->budget.spent == BUDGET_LEFT) budget_spend(&v->budget, BUDGET_MEMORY);
    if (v->budget.spent == BUDGET_LEFT)
        return err_set(why, ERR_SCRIPT, "%s",
                       v->error[0] != '\0' ? v->error : "an error while an error was described");
    v->dead = true;
    (void)spent_text(v, (budget_kind)v->budget.spent, text);
    /* With the line, if the error that says so is the one that came out. */
    return err_set(why, ERR_BUDGET, "%s", strstr(v->error, text) != NULL ? v->error : text);
}

err state_call(vm *v, lua_CFunction body, void *arg, arena *mem, uint64_t cpu_ns, uint64_t wall_ns,
               err_info *why)
{
    lua_State *L = v->L;
    int status;

    if (v->dead) return err_set(why, ERR_BUDGET, "a budget was spent before: this state is closed");
    v->mem = mem;
    v->held_before = mem->held;
    v->cpu_ns = cpu_ns;
    v->wall_ns = wall_ns;
    v->error[0] = v->trace[0] = '\0';
    err e = budget_start(&v->budget, cpu_ns, wall_ns, why);
    if (e != ERR_OK) return e;

    /* None of these three allocates: the stack has room for them from the start. */
    lua_pushcfunction(L, on_error);
    lua_pushcfunction(L, body);
    lua_pushlightuserdata(L, arg);
    status = lua_pcall(L, 1, 0, 1);
    budget_stop(&v->budget);

    /* A budget spent in the last instructions fails the run like any other. */
    if (status != LUA_OK || v->budget.spent != BUDGET_LEFT) e = gate_failed(v, status, why);
    lua_settop(L, 0);
    v->generation++;
    v->mem = NULL;
    v->input = NULL;
    arena_reset(&v->scratch);
    if (!v->dead && v->heap.used > v->settled + GARBAGE_KEPT) {
        (void)lua_gc(L, LUA_GCCOLLECT);
        v->settled = v->heap.used;
    }
    return e;
}

/* ---- life -------------------------------------------------------------------- */

static int open_body(lua_State *L)
{
    sandbox_open(L);
    return 0;
}

err state_open(const vm_limits *limits, vm **out, err_info *why)
{
    vm *v = mem_zalloc(sizeof *v);

    v->limits = *limits;
    v->heap.limit = limits->memory;
    v->generation = 1;
    v->L = lua_newstate(heap_alloc, &v->heap);
    if (v->L == NULL) {
        heap_trim(&v->heap);
        free(v);
        return err_set(why, ERR_BUDGET, "memory budget of %g MiB is too small for a Lua state",
                       (double)limits->memory / 1048576);
    }
    *(vm **)lua_getextraspace(v->L) = v;
    v->budget.L = v->L;
    lua_atpanic(v->L, on_panic);
    (void)lua_gc(v->L, LUA_GCSTOP);

    err e = state_call(v, open_body, NULL, &v->own, limits->cpu_ns + 1000000000u,
                       limits->wall_ns + 1000000000u, why);
    if (e != ERR_OK) {
        state_close(v);
        return e;
    }
    v->settled = v->heap.used;
    *out = v;
    return ERR_OK;
}

void state_close(vm *v)
{
    if (v == NULL) return;
    lua_close(v->L);
    heap_trim(&v->heap);
    arena_free(&v->scratch);
    arena_free(&v->own);
    free(v);
}

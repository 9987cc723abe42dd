/* script/state.h -- inside of a vm, for the files of this folder.
 *
 * All Lua runs inside state_call, the one gate in and out. Functions called from
 * Lua may leave by longjmp at any call that can raise, so none of them owns
 * memory across such a call: what they need lives in the state, in the run's
 * arena `mem`, or in `scratch`. */
#ifndef SCRIPT_STATE_H
#define SCRIPT_STATE_H

#include <lauxlib.h>
#include <lua.h>

#include "script/budget.h"
#include "script/code_table.h"
#include "script/heap.h"
#include "script/timezone.h"
#include "script/vm.h"

/* What a run has said so far; the tails are where the next one goes. */
typedef struct run_result {
    script_result     *to;               /* NULL while a pack is loaded */
    script_resource  **resource_end;
    script_hl7       **hl7_end;
    script_event     **event_end;
    size_t             bytes;            /* against limits.output */
} run_result;

/* A kind of box that is made and looked at for every field: its metatable by number
 * in the registry, and by address, which no other value has. */
typedef struct box_kind { int ref; const void *meta; } box_kind;

struct vm {
    lua_State       *L;
    vm_limits        limits;
    heap             heap;
    size_t           settled;            /* heap.used when it was last collected */
    budget           budget;
    bool             dead;               /* a budget was spent: only to be closed */
    pack            *pack;               /* NULL in a state for a manifest */
    arena            own;                /* what lives as long as the vm */
    vm_scope         scope;
    const zone      *zone;               /* NULL: none configured */
    code_table_set   overlay;

    uint64_t         generation;         /* of the run; boxes of others are stale */
    const vm_input  *input;              /* NULL while a pack is loaded */
    arena           *mem;                /* of the run */
    uint64_t         cpu_ns, wall_ns;    /* that it was given */
    size_t           held_before;        /* by `mem` when the run began */
    arena            scratch;            /* for the length of one C function */
    run_result       result;
    box_kind         segments, values;
    struct kept_patterns *patterns;      /* of lib_string.c; in `own` */

    char             error[256];         /* of the run that failed */
    char             trace[1024];
};

static inline vm *vm_of(lua_State *L) { return *(vm **)lua_getextraspace(L); }

/* A state with the sandbox's globals, without a pack. */
must_check err state_open(const vm_limits *limits, vm **out, err_info *why);
void state_close(vm *v);

/* Runs body(L) with `arg` as a light userdata at index 1, within the budgets;
 * `mem` is the run's arena. Results are left by `body` where `arg` says. */
must_check err state_call(vm *v, lua_CFunction body, void *arg, arena *mem,
                          uint64_t cpu_ns, uint64_t wall_ns, err_info *why);

/* Raises when the budget is spent, or `mem` has grown beyond the memory limit. */
void state_check(lua_State *L);                                   /* [-0, +0, e] */

/* Counts `bytes` of output; raises beyond the limit. */
void state_output(lua_State *L, size_t bytes);                    /* [-0, +0, e] */

/* "CPU time budget of 50 ms spent" */
void state_push_spent(lua_State *L, budget_kind kind);            /* [-0, +1, m] */

/* Pushes the text of any value, without addresses. */
slice state_push_text(lua_State *L, int index);                   /* [-0, +1, e] */

/* sandbox.c: the globals; leaves nothing on the stack. */
void sandbox_open(lua_State *L);                                  /* [-0, +0, m] */
/* A read-only view of the table on the top, in its place; deep: of all within. */
void sandbox_freeze(lua_State *L);                                /* [-1, +1, m] */
void sandbox_freeze_deep(lua_State *L);                           /* [-1, +1, m] */

/* order.c: pairs and next in an order that is the same in every process. */
int order_pairs(lua_State *L);
int order_next(lua_State *L);

/* lib_out.c: the collector of this run. */
void out_push(lua_State *L);                                      /* [-0, +1, m] */

/* The libraries; each pushes one table, or puts functions into the one on the top. */
void lib_string_open(lua_State *L);                               /* table on top */
void lib_table_open(lua_State *L);                                /* table on top */
void lib_msg_open(lua_State *L);                                  /* pushes `hl7` */
void lib_value_open(lua_State *L);                                /* pushes nothing */
void lib_json_open(lua_State *L);                                 /* pushes `json` */
void lib_host_open(lua_State *L);                                 /* pushes `host` */
void lib_out_open(lua_State *L);                                  /* pushes nothing */
void lib_row_open(lua_State *L);                                  /* pushes nothing */
int  lib_require(lua_State *L);                                   /* the global */

/* Pushes the module; raises when there is none. */
void require_push(lua_State *L, slice name);                      /* [-0, +1, e] */

/* ---- values that several libraries share --------------------------------- */

#define NULL_TYPE    "null"
#define DECIMAL_TYPE "decimal"
#define MSG_TYPE     "message"
#define SEGMENT_TYPE "segment"
#define VALUE_TYPE   "field"
#define OUT_TYPE     "out"

/* The one null: hl7.null, host.null and json.null. */
void null_push(lua_State *L);                                     /* [-0, +1, -] */
bool null_is(lua_State *L, int index);

/* A number that keeps its text. */
void decimal_push(lua_State *L, slice text);                      /* [-0, +1, m] */
bool decimal_is(lua_State *L, int index, slice *text);
bool decimal_valid(slice text);                                   /* RFC 8259 section 6 */

typedef struct msg_box { const hl7_msg *msg; uint64_t generation; } msg_box;

/* Raises when `text`, at `index`, is more than may be parsed at once. */
void parse_check(lua_State *L, int index, slice text);            /* [-0, +0, e] */

void msg_push(lua_State *L, const hl7_msg *m);                    /* [-0, +1, m] */
const hl7_msg *msg_check(lua_State *L, int index);                /* [-0, +0, e] */
const hl7_msg *msg_test(lua_State *L, int index);                 /* NULL: no message */
void segment_push(lua_State *L, const hl7_msg *m, size_t index);  /* [-0, +1, m] */

/* A value as sent: nil when empty, the null, or its text with escapes resolved. */
void text_push(lua_State *L, const hl7_msg *m, slice raw);        /* [-0, +1, m] */
/* A whole field; nil when absent. */
void field_push(lua_State *L, const hl7_msg *m, size_t segment, size_t field);

/* A metatable `type` with these methods: locked, known by name. */
void box_type(lua_State *L, const char *type, const luaL_Reg *meta, const luaL_Reg *methods);

/* The same kind without a search for its name. box_check raises as luaL_checkudata does. */
box_kind box_kind_of(lua_State *L, const char *type);             /* [-0, +0, m] */
void *box_new(lua_State *L, const box_kind *kind, size_t size);   /* [-0, +1, m] */
void *box_check(lua_State *L, int index, const box_kind *kind, const char *type);

/* ---- Lua <-> JSON (lua_json.c) --------------------------------------------- */

typedef enum json_form {
    JSON_RESOURCE,       /* a FHIR resource: empty values left out, null only as a deletion mark */
    JSON_PLAIN           /* as it is */
} json_form;

/* The value at `index` as JSON in `mem`; raises with the path of what cannot be
 * written. `what` names the root in errors. */
json *json_from_lua(lua_State *L, int index, json_form form, arena *mem, const char *what);
void json_to_lua(lua_State *L, const json *v);                    /* [-0, +1, m] */

#endif

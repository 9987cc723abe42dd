/* script/vm.h -- a sandboxed Lua state that runs one pack for one connector.
 *
 * A vm belongs to one thread at a time. A run is pure: the same pack, settings,
 * tables and input give the same result, byte for byte (promise P8). */
#ifndef SCRIPT_VM_H
#define SCRIPT_VM_H

#include "hl7/parse.h"
#include "script/pack.h"
#include "script/result.h"

typedef struct vm vm;

typedef struct vm_limits {
    size_t   memory;                     /* bytes that the state may hold */
    uint64_t cpu_ns;                     /* CPU time of one run */
    uint64_t wall_ns;                    /* backstop */
    size_t   output;                     /* bytes of all results of one run, as JSON or HL7 */
} vm_limits;

extern const vm_limits VM_DEFAULT_LIMITS;        /* 64 MiB, 50 ms, 5 s, 16 MiB */

typedef struct vm_scope {
    slice tenant, connector_id, connector_name;
    slice timezone;                      /* IANA name; empty: times without an offset are cut to the date */
    slice settings;                      /* JSON object, may be empty */
    slice tables;                        /* JSON {table: {code: {column: text} or null}}, may be empty */
} vm_scope;

typedef struct vm_input {
    const hl7_msg *msg;                  /* UTF-8, see hl7_decode */
    slice          message_id;           /* MSG_… */
    int64_t        received_us;          /* the only "now" that a script has */
} vm_input;

/* Opens a state and loads the pack's handlers. Keeps the pack. */
must_check err vm_open(pack *p, const vm_scope *scope, const vm_limits *limits, vm **out, err_info *why);
void vm_close(vm *v);                    /* NULL allowed */
size_t vm_memory(const vm *v);           /* bytes that it takes from malloc */
void vm_rest(vm *v);                     /* gives back what runs and loading left behind: a millisecond */

/* Runs the handler for the message's type. The result is in `mem`.
 * ERR_SCRIPT: "adt.lua:12: PID-8: no code for 'Z'"-like text without a field's
 * content where the library raised it; ERR_BUDGET names the budget. After
 * ERR_BUDGET the state must be closed; after any other it can be used again. */
must_check err vm_transform(vm *v, const vm_input *input, arena *mem, script_result *out, err_info *why);

/* Where the last run that failed stood: one line a call, for people; empty
 * otherwise. Valid until the next run. */
slice vm_trace(const vm *v);

#endif

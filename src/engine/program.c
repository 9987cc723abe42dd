/* engine/program.c -- a counted pack with its scope. */
#include "engine/program.h"

#include <stdlib.h>

err program_new(slice archive, const char *digest, const vm_scope *scope, program **out, err_info *why)
{
    program *p = mem_zalloc(sizeof *p);
    vm *trial = NULL;
    err e;

    atomic_init(&p->count, 1);
    p->limits = VM_DEFAULT_LIMITS;
    p->scope = (vm_scope){
        .tenant = arena_dup(&p->mem, scope->tenant),
        .connector_id = arena_dup(&p->mem, scope->connector_id),
        .connector_name = arena_dup(&p->mem, scope->connector_name),
        .timezone = arena_dup(&p->mem, scope->timezone),
        .settings = arena_dup(&p->mem, scope->settings),
        .tables = arena_dup(&p->mem, scope->tables),
    };
    e = pack_open(archive, digest, &p->pack, why);
    if (e == ERR_OK) e = vm_open(p->pack, &p->scope, &p->limits, &trial, why);
    vm_close(trial);
    if (e != ERR_OK) {
        program_drop(p);
        return e;
    }
    *out = p;
    return ERR_OK;
}

program *program_keep(program *p)
{
    (void)atomic_fetch_add_explicit(&p->count, 1, memory_order_relaxed);
    return p;
}

void program_drop(program *p)
{
    if (p == NULL || atomic_fetch_sub_explicit(&p->count, 1, memory_order_acq_rel) > 1) return;
    pack_drop(p->pack);
    arena_free(&p->mem);
    free(p);
}

/* engine/program.h -- what a connector runs: a pack with its scope and limits. Immutable
 * and counted, so that a job finishes on the one it began with while a newer is swapped in. */
#ifndef ENGINE_PROGRAM_H
#define ENGINE_PROGRAM_H

#include <stdatomic.h>

#include "script/vm.h"

typedef struct program {
    atomic_int count;
    arena      mem;
    pack      *pack;
    vm_scope   scope;                    /* in `mem` */
    vm_limits  limits;
} program;

/* Opens the pack from its archive and tries it in a fresh state: a pack that does not
 * load never becomes a program. */
must_check err program_new(slice archive, const char *digest, const vm_scope *scope, program **out, err_info *why);
program *program_keep(program *p);
void program_drop(program *p);           /* NULL allowed; any thread */

#endif

/* script/budget.h -- the budget of one run: CPU time, wall time, memory, output.
 *
 * No hook stands while there is budget left: a standing one costs a fifth of a
 * script's speed. Two timers of the running thread, one on its CPU clock and
 * one on the wall clock, send SIGRTMIN+5 to that thread; the handler installs
 * the hook, which raises at every instruction from then on, so that a script
 * that catches the error gets no further. C functions that can run long look
 * for themselves, with budget_step. */
#ifndef SCRIPT_BUDGET_H
#define SCRIPT_BUDGET_H

#include <lua.h>
#include <signal.h>

#include "base/base.h"

typedef enum budget_kind {
    BUDGET_LEFT, BUDGET_CPU, BUDGET_WALL, BUDGET_MEMORY, BUDGET_OUTPUT
} budget_kind;

typedef struct budget {
    lua_State            *L;
    volatile sig_atomic_t spent;         /* a budget_kind; once set it stays */
    uint64_t              cpu_end;       /* of the thread's CPU clock */
    uint64_t              wall_end;      /* of clock_ns */
    size_t                steps;         /* since the clocks were looked at */
} budget;

/* Starts and stops the calling thread's timers for `b`. One budget at a time
 * runs on a thread. */
must_check err budget_start(budget *b, uint64_t cpu_ns, uint64_t wall_ns, err_info *why);
void budget_stop(budget *b);

/* Marks the budget as spent and installs the hook. Async-signal-safe. */
void budget_spend(budget *b, budget_kind kind);

bool budget_look(budget *b);             /* the clocks; true when spent */

#define BUDGET_STRIDE ((size_t)1 << 15)

/* For loops in C: counts `n` steps of a few nanoseconds; true when the budget
 * is spent and the loop has to end. */
static inline bool budget_step(budget *b, size_t n)
{
    if (b->spent != BUDGET_LEFT) return true;
    b->steps += n;
    return b->steps >= BUDGET_STRIDE && budget_look(b);
}

#endif

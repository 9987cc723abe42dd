/* script/budget.c -- timers that stop a script, and the hook that keeps it stopped. */
#include "script/budget.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/sanitizer.h"
#include "script/state.h"

#define BUDGET_SIGNAL (SIGRTMIN + 5)

/* A timer's expiry is repeated, in case that the first hook was installed just
 * where the interpreter was leaving the function that it marked. Each time after
 * twice the pause: installing a hook marks every call that is open, which in a deep
 * recursion takes longer than a short pause, and the script would never get to
 * the instruction that ends it. */
#define REPEAT_NS 1000000
#define REPEAT_MOST_NS 1000000000

/* The timers of one thread. They point at this with their signals, so that the
 * handler needs no thread-local storage of its own. */
typedef struct thread_timers {
    timer_t          cpu, wall;
    bool             made;
    budget *volatile running;
    volatile uint64_t pause;             /* before the next signal, once the first has come */
} thread_timers;

static _Thread_local thread_timers mine;
static pthread_key_t at_thread_exit;

/* From now, once; 0: never. Async-signal-safe. */
static void arm(timer_t timer, uint64_t ns)
{
    struct itimerspec when = { .it_value = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) } };

    (void)timer_settime(timer, 0, &when, NULL);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
    thread_timers *t = info->si_value.sival_ptr;
    (void)sig, (void)context;

    if (info->si_code != SI_TIMER || t == NULL || t->running == NULL) return;
    int kept = errno;
    /* A late signal of the run before finds budget left, and so may one that is early. */
    if (budget_look(t->running) && t->pause < REPEAT_MOST_NS) t->pause *= 2;
    if (clock_cpu_ns() >= t->running->cpu_end) arm(t->cpu, t->pause);
    if (clock_ns() >= t->running->wall_end) arm(t->wall, t->pause);
    errno = kept;
}

static void delete_timers(void *arg)
{
    thread_timers *t = arg;

    t->running = NULL;
    (void)timer_delete(t->cpu);
    (void)timer_delete(t->wall);
    t->made = false;
}

static void install_handler(void)
{
    struct sigaction action = { .sa_sigaction = on_signal,
                                .sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK };

    (void)sigemptyset(&action.sa_mask);
    if (sigaction(BUDGET_SIGNAL, &action, NULL) != 0 ||
        pthread_key_create(&at_thread_exit, delete_timers) != 0)
        die("budget: no signal handler");
}

static bool make_timer(clockid_t clock, timer_t *out)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = BUDGET_SIGNAL };

    event._sigev_un._tid = gettid();
    event.sigev_value.sival_ptr = &mine;
    return timer_create(clock, &event, out) == 0;
}

static err make_timers(err_info *why)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t set;

    (void)pthread_once(&once, install_handler);
    if (!make_timer(CLOCK_THREAD_CPUTIME_ID, &mine.cpu))
        return err_set(why, ERR_IO, "no timer for scripts: %s", strerror(errno));
    if (!make_timer(CLOCK_MONOTONIC, &mine.wall)) {
        err e = err_set(why, ERR_IO, "no timer for scripts: %s", strerror(errno));
        (void)timer_delete(mine.cpu);
        return e;
    }
    (void)sigemptyset(&set);
    (void)sigaddset(&set, BUDGET_SIGNAL);
    (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    mine.made = true;
    (void)pthread_setspecific(at_thread_exit, &mine);
    return ERR_OK;
}

/* ThreadSanitizer holds a signal back until the next call into libc, which a loop
 * in Lua need never make: under it, and only there, a standing hook looks. */
#if UNDER_TSAN
static void on_count(lua_State *L, lua_Debug *ar)
{
    (void)ar;
    (void)budget_look(&vm_of(L)->budget);
}
#define hook_standing(L) lua_sethook((L), on_count, LUA_MASKCOUNT, 10000)
#else
#define hook_standing(L) ((void)0)
#endif

err budget_start(budget *b, uint64_t cpu_ns, uint64_t wall_ns, err_info *why)
{
    if (!mine.made && make_timers(why) != ERR_OK) return why == NULL ? ERR_IO : why->code;
    b->steps = 0;
    b->cpu_end = clock_cpu_ns() + cpu_ns;
    b->wall_end = clock_ns() + wall_ns;
    hook_standing(b->L);
    mine.pause = REPEAT_NS;
    mine.running = b;
    arm(mine.cpu, cpu_ns);
    arm(mine.wall, wall_ns);
    return ERR_OK;
}

void budget_stop(budget *b)
{
    if (mine.running != b) return;
    mine.running = NULL;
    arm(mine.cpu, 0);
    arm(mine.wall, 0);
}

bool budget_look(budget *b)
{
    b->steps = 0;
    if (b->spent != BUDGET_LEFT) budget_spend(b, (budget_kind)b->spent);
    else if (clock_cpu_ns() >= b->cpu_end) budget_spend(b, BUDGET_CPU);
    else if (clock_ns() >= b->wall_end) budget_spend(b, BUDGET_WALL);
    return b->spent != BUDGET_LEFT;
}

static void on_instruction(lua_State *L, lua_Debug *ar)
{
    budget *b = &vm_of(L)->budget;

    lua_sethook(L, on_instruction, LUA_MASKCOUNT, 1);
    if (lua_getinfo(L, "Sl", ar) != 0 && ar->currentline > 0)
        lua_pushfstring(L, "%s:%d: ", ar->short_src, ar->currentline);
    else
        lua_pushliteral(L, "");
    state_push_spent(L, (budget_kind)b->spent);
    lua_concat(L, 2);
    (void)lua_error(L);
}

void budget_spend(budget *b, budget_kind kind)
{
    if (b->spent == BUDGET_LEFT) b->spent = (sig_atomic_t)kind;
    lua_sethook(b->L, on_instruction, LUA_MASKCOUNT, 1);
}

/* ---- a loop inside of Lua ------------------------------------------------------
 *
 * Where `__call` is itself a table, Lua looks for the `__call` of that, and so on,
 * with one more argument each time and all of them moved by one place. A table that
 * is its own `__call` keeps a core for an hour that way, in C, where no hook reaches.
 * The linker puts this in place of the function that Lua looks with (--wrap in
 * CMakeLists.txt), so that the budget is asked at each step. */

enum { TM_CALL = 23 };                   /* of Lua 5.4's ltm.h */

const void *__real_luaT_gettmbyobj(lua_State *L, const void *value, int event);
const void *__wrap_luaT_gettmbyobj(lua_State *L, const void *value, int event);

const void *__wrap_luaT_gettmbyobj(lua_State *L, const void *value, int event)
{
    if (event == TM_CALL && vm_of(L)->budget.spent != BUDGET_LEFT) state_check(L);
    return __real_luaT_gettmbyobj(L, value, event);
}

/* base/failpoint.c -- dies or hangs at a place when it is told to. */
#include "base/failpoint.h"

#ifdef INTEROP_FAILPOINTS
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char wanted[64];
static atomic_long left;
static int end_by = SIGKILL;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_wish(void)
{
    const char *wish = getenv("INTEROP_FAILPOINT"), *colon = wish == NULL ? NULL : strchr(wish, ':');
    char *rest;

    if (colon == NULL || (size_t)(colon - wish) >= sizeof wanted) return;
    memcpy(wanted, wish, (size_t)(colon - wish));
    atomic_store(&left, strtol(colon + 1, &rest, 10));
    if (strcmp(rest, ":hang") == 0) end_by = SIGSTOP;
}

void failpoint(const char *name)
{
    (void)pthread_once(&once, read_wish);
    if (strcmp(name, wanted) != 0 || atomic_fetch_sub(&left, 1) != 1) return;
    (void)kill(getpid(), end_by);
    while (end_by == SIGKILL) (void)pause();
}
#endif

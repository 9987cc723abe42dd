/* base/failpoint.c -- dies at a place when it is told to. */
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
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void read_wish(void)
{
    const char *wish = getenv("INTEROP_FAILPOINT"), *colon = wish == NULL ? NULL : strchr(wish, ':');

    if (colon == NULL || (size_t)(colon - wish) >= sizeof wanted) return;
    memcpy(wanted, wish, (size_t)(colon - wish));
    atomic_store(&left, strtol(colon + 1, NULL, 10));
}

void failpoint(const char *name)
{
    (void)pthread_once(&once, read_wish);
    if (strcmp(name, wanted) != 0 || atomic_fetch_sub(&left, 1) != 1) return;
    (void)kill(getpid(), SIGKILL);
    for (;;) (void)pause();
}
#endif

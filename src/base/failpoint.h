/* base/failpoint.h -- named places where a build for tests can be made to die, or to hang.
 *
 *   INTEROP_FAILPOINT=NAME:N        the process kills itself (SIGKILL) when it comes to
 *                                   the place NAME for the Nth time
 *   INTEROP_FAILPOINT=NAME:N:hang   it stops itself there (SIGSTOP), and goes on when it
 *                                   is continued
 *
 * A place stands before or after something that must not be lost or doubled: what is
 * promised must hold when the process ends there (tests/scenario/failpoints.py
 * tries each that the sources name). In any other build there is nothing of this. */
#ifndef BASE_FAILPOINT_H
#define BASE_FAILPOINT_H

#ifdef INTEROP_FAILPOINTS
void failpoint(const char *name);
#else
#define failpoint(name) ((void)0)
#endif

#endif

/* store/advice.c -- by SQLSTATE; one of two letters is a class. */
#include "store/advice.h"

#include "base/base.h"

const char *advice_for(const char *sqlstate)
{
    static const struct { const char *state, *advice; } known[] = {
        { "25006", "it is a standby, or was set to read only: name the primary, or all of them with "
                   "target_session_attrs=read-write" },
        { "42501", "run `interop migrate`, which grants what the engine's role needs" },
        { "42", "the database is not migrated to this release; run `interop migrate`" },
        { "53100", "make room on the disk of PostgreSQL; what was read waits" },
        { "53200", "PostgreSQL is out of memory" },
        { "53300", "raise its max_connections, or lower ingest_connections and result_connections" },
        { "55P03", "another session holds a lock; see pg_locks" },
        { "57014", "no answer within database_patience: another session holds a lock (see pg_locks), or the disk is slow" },
    };

    for (size_t i = 0; i < countof(known); i++)
        if (strncmp(sqlstate, known[i].state, strlen(known[i].state)) == 0) return known[i].advice;
    return NULL;
}

/* store/migrate.h -- brings a database to the model of this release.
 *
 * The files of sql/ run in order, each once and in one transaction (or, where the
 * first line says `-- no transaction`, a statement at a time, and from the beginning
 * again when one fails), and are kept with their SHA-256 in interop_migrations:
 * forward only. Afterwards the engine's role is made if need be, refused if it
 * could get round row-level security (promise P7), and granted what grants.sql says.
 * Doing it again changes nothing. */
#ifndef STORE_MIGRATE_H
#define STORE_MIGRATE_H

#include "store/db.h"

/* Where it is told what was done, a line at a time. */
typedef struct migrate_report {
    void (*say)(void *arg, const char *line);
    void  *arg;
} migrate_report;

/* `owner_url` connects as who owns (or is to own) the tables; `engine_url` ("": none)
 * names the engine's role. What only an administrator may do is said as SQL to
 * run, and ERR_AUTH returned. */
must_check err migrate_run(const char *owner_url, const char *engine_url, const migrate_report *report,
                           err_info *why);

/* ERR_CONFIG, with what to do, unless the database has every migration of this release. */
must_check err migrate_check(db *d, err_info *why);

/* ---- for migrate.c: the roles (migrate_role.c) ------------------------------------ */

/* The role that a connection string names, and its password ("" without one). In `mem`. */
typedef struct migrate_role { slice name, password; } migrate_role;
must_check err migrate_role_of(arena *mem, const char *url, migrate_role *out, err_info *why);

/* interop_system is there, or this user may make it; else ERR_AUTH and the SQL to run. */
must_check err migrate_role_system(db *d, const migrate_report *report, err_info *why);

/* Refuses a role that is superuser, bypasses row-level security, could make itself
 * do so, owns tables or belongs to interop_system. `*exists` tells whether it is there. */
must_check err migrate_role_check(db *d, const migrate_role *role, bool *exists, err_info *why);

/* Makes the role if it is missing, and grants; else ERR_AUTH and the SQL to run. */
must_check err migrate_role_grant(db *d, const migrate_role *role, const migrate_report *report, err_info *why);

void migrate_say(const migrate_report *report, const char *fmt, ...) printf_like(2, 3);

#endif

/* store/migrate_files.h -- the SQL files of sql/, carried inside of the program, so
 * that a deployed binary has the migrations that it was built with. */
#ifndef STORE_MIGRATE_FILES_H
#define STORE_MIGRATE_FILES_H

#include "base/base.h"

typedef struct migrate_file {
    const char *name;                    /* "0001_data_model.sql"; NULL ends the table */
    const char *begin, *end;
} migrate_file;

/* In the order in which they run; grants.sql is the last and no migration. */
extern const migrate_file migrate_files[];

#define MIGRATE_GRANTS "grants.sql"

/* SQL: whether the current role was granted what grants.sql of this release says, by the newest function there. */
#define MIGRATE_GRANTED \
    "(SELECT has_function_privilege(max(oid), 'EXECUTE') FROM pg_proc" \
    " WHERE pronamespace = 'public'::regnamespace AND proname = 'interop_message_transformed')"
#define MIGRATE_NOT_GRANTED \
    "the role lacks rights that this release needs: run `interop migrate`, with the role in INTEROP_DATABASE_URL"

static inline slice migrate_text(const migrate_file *f)
{
    return (slice){ f->begin, (size_t)(f->end - f->begin) };
}

#endif

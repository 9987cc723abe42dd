/* store/migrate_files.h -- the SQL files of sql/, built into the binary (embed.cmake). */
#ifndef STORE_MIGRATE_FILES_H
#define STORE_MIGRATE_FILES_H

#include "base/base.h"

typedef struct migrate_file {
    const char          *name;           /* "0001_data_model.sql"; NULL ends the table */
    const unsigned char *bytes;
    size_t               size;
} migrate_file;

/* In the order in which they run; grants.sql is the last and no migration. */
extern const migrate_file migrate_files[];

#define MIGRATE_GRANTS "grants.sql"

static inline slice migrate_text(const migrate_file *f)
{
    return (slice){ (const char *)f->bytes, f->size };
}

#endif

/* store/migrate_files.c -- a new migration is a line at the end of each list here,
 * and in CMakeLists.txt. */
#include "store/migrate_files.h"

#define EMBED(symbol, file) \
    extern const char symbol##_begin[], symbol##_end[]; \
    __asm__(".pushsection .rodata\n" \
            #symbol "_begin:\n" \
            ".incbin \"" SQL_DIR "/" file "\"\n" \
            #symbol "_end:\n" \
            ".byte 0\n" \
            ".popsection\n")

EMBED(sql_0001, "0001_data_model.sql");
EMBED(sql_0002, "0002_spine.sql");
EMBED(sql_0003, "0003_nodes.sql");
EMBED(sql_0004, "0004_handovers.sql");
EMBED(sql_0005, "0005_balance.sql");
EMBED(sql_0006, "0006_open_messages.sql");
EMBED(sql_0007, "0007_placement.sql");
EMBED(sql_grants, MIGRATE_GRANTS);

const migrate_file migrate_files[] = {
    { "0001_data_model.sql", sql_0001_begin, sql_0001_end },
    { "0002_spine.sql", sql_0002_begin, sql_0002_end },
    { "0003_nodes.sql", sql_0003_begin, sql_0003_end },
    { "0004_handovers.sql", sql_0004_begin, sql_0004_end },
    { "0005_balance.sql", sql_0005_begin, sql_0005_end },
    { "0006_open_messages.sql", sql_0006_begin, sql_0006_end },
    { "0007_placement.sql", sql_0007_begin, sql_0007_end },
    { MIGRATE_GRANTS, sql_grants_begin, sql_grants_end },
    { NULL, NULL, NULL },
};

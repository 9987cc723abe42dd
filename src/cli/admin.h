/* cli/admin.h -- what the commands that work on the database share. */
#ifndef CLI_ADMIN_H
#define CLI_ADMIN_H

#include "cli/cli.h"
#include "engine/config.h"
#include "script/pack.h"
#include "store/connectors.h"

/* A group such as `connector` with its verbs; argv[0] is the group's name. */
int cli_verbs(const cli_command *group, const cli_command *verbs, size_t count, int argc, char **argv);

typedef struct admin {
    const cli_command *cmd;
    arena       mem;
    config      config;
    db         *db;
    slice       tenant;                  /* empty: none was named */
    bool        json;                    /* --format json */
    err_info    why;
} admin;

/* The options that all of them have: the first members of a command's table. */
typedef struct admin_options { const char *config, *tenant, *format; } admin_options;
#define ADMIN_OPTIONS(o) { "--config", &(o).config, NULL, NULL, 0 }, { "--tenant", &(o).tenant, NULL, NULL, 0 }, \
    { "--format", &(o).format, NULL, NULL, 0 }
#define ADMIN_HELP \
    "  --tenant TENANT   whose (or INTEROP_TENANT)\n" \
    "  --format FORMAT   text (default) or json: one object a line\n" \
    "  --config FILE     configuration (or INTEROP_CONFIG); INTEROP_DATABASE_URL names the database\n"

/* Configuration and database, ready for work; `tenant_needed` refuses a command
 * without one. Prints what is wrong and returns false with `*code` set. Close it
 * in any case. */
must_check bool admin_open(admin *a, const cli_command *cmd, const admin_options *o, bool tenant_needed, int *code);

/* The exit code for `e`: prints `a->why` unless it is ERR_OK. Ends a transaction
 * that is open. */
int admin_end(admin *a, err e);
void admin_close(admin *a);

/* A verb that only reads and takes only the common options: `read` within a transaction (for the tenant, if
 * one was named), then `print`. Both get `rows`. */
int admin_read(const cli_command *cmd, int argc, char **argv, bool tenant_needed, err (*read)(admin *a, void *rows),
               void (*print)(admin *a, const void *rows), void *rows);

/* A whole number option: `standard` when it was not given. */
must_check bool admin_int(const admin *a, const char *name, const char *text, int64_t standard, int64_t least,
                          int64_t most, int64_t *out);

/* One JSON object and a line feed on standard output. */
void admin_print(const buf *line);

/* Text for a terminal: control characters of `s` become `?`. */
void admin_print_text(slice s);

/* The pack in `folder`, with the library and packs that it builds on, opened once so
 * that one which cannot run is refused here (cli_pack.c). The caller drops it. */
must_check err admin_pack(admin *a, const char *folder, pack **out);

/* Stores it for the tenant, within its transaction. */
must_check err admin_push(admin *a, const pack *p, bool *added);

/* Opens the pack as the connector would run it, so that settings which it does not
 * have are refused here. NULL: the stored one that `c->pack_digest` names. */
must_check err admin_try(admin *a, pack *p, const connector_row *c);

/* ---- a table for people: columns as wide as what is in them ------------------------- */

typedef struct table table;
table *table_new(arena *mem, const char *const *heads, int columns);
void table_add(table *t, slice cell);                    /* row by row */
void table_add_int(table *t, int64_t n);
void table_print(const table *t);

#endif

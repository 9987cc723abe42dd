/* cli/cli.h -- what the subcommands share: the table of commands, options, exit codes. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdio.h>

#include "base/arena.h"

enum { EXIT_WELL = 0, EXIT_FINDINGS = 1, EXIT_USAGE = 2 };

/* One subcommand: argv[0] is its name. Returns an exit code. */
typedef struct cli_command {
    const char *name;
    const char *arguments;               /* "PACK FILE… [--all]" */
    const char *summary;                 /* one line */
    int       (*run)(int argc, char **argv);
    const char *help;                    /* options, a line each; may be NULL */
} cli_command;

extern const cli_command cli_run, cli_migrate, cli_map, cli_parse, cli_send, cli_lane, cli_node, cli_listen, cli_message,
    cli_connector, cli_rule, cli_quarantine, cli_pack, cli_fhir_demo;

/* An option of a command: "--port" with a value, or a flag. */
typedef struct cli_option {
    const char  *name;                   /* "--port" */
    const char **value;                  /* set to what follows (or stands behind '='); NULL for a flag */
    bool        *flag;
    const char **values;                 /* repeatable: room for `room` values, NULL-terminated */
    int          room;
} cli_option;

/* Sorts argv[1…] into options and words. An unknown option, a missing value or
 * more words than `max_words` prints one line that says so and returns false
 * (EXIT_USAGE). "--" ends the options; "--help" prints the command's help and exits 0. */
must_check bool cli_parse_options(const cli_command *cmd, int argc, char **argv,
                                  const cli_option *options, int option_count,
                                  const char **words, int max_words, int *word_count);

/* "interop CMD: text" on standard error; returns EXIT_USAGE or what fits the error. */
int cli_fail(const cli_command *cmd, const err_info *why);
int cli_usage(const cli_command *cmd, const char *fmt, ...) printf_like(2, 3);

/* A whole file ("-": standard input) into `mem`; ERR_IO names it. */
must_check err cli_read_file(arena *mem, const char *path, slice *out, err_info *why);

#endif

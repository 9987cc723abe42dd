/* cli/options.c -- reading a subcommand's command line, and saying what is wrong with it.
 *
 * Options may stand anywhere among the words, as `--name value` or `--name=value`. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/buf.h"
#include "cli/cli.h"

int cli_usage(const cli_command *cmd, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "interop %s: ", cmd->name);
    va_start(args, fmt);
    (void)vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, " (see interop %s --help)\n", cmd->name);
    return EXIT_USAGE;
}

/* What a corrected command line or setting can cure is EXIT_USAGE. */
int cli_fail(const cli_command *cmd, const err_info *why)
{
    fprintf(stderr, "interop %s: %s\n", cmd->name, why->text);
    switch (why->code) {
    case ERR_HL7: case ERR_CHARSET: case ERR_JSON: case ERR_FHIR: case ERR_SCRIPT: case ERR_BUDGET:
    case ERR_REFUSED: case ERR_CONFLICT: case ERR_NOT_FOUND:
        return EXIT_FINDINGS;
    default:
        return EXIT_USAGE;
    }
}

static void print_help(const cli_command *cmd)
{
    printf("interop %s %s\n%s\n", cmd->name, cmd->arguments, cmd->summary);
    if (cmd->help != NULL) printf("\n%s", cmd->help);
}

/* The option named at the front of `arg`; `*inline_value` is what stands behind '='. */
static const cli_option *find_option(const cli_option *options, int count, const char *arg,
                                     const char **inline_value)
{
    for (int i = 0; i < count; i++) {
        size_t len = strlen(options[i].name);
        if (strncmp(arg, options[i].name, len) != 0) continue;
        if (arg[len] == '\0') { *inline_value = NULL; return &options[i]; }
        if (arg[len] == '=') { *inline_value = arg + len + 1; return &options[i]; }
    }
    return NULL;
}

static bool set_option(const cli_command *cmd, const cli_option *option, const char *value)
{
    if (option->values != NULL) {
        int n = 0;
        while (option->values[n] != NULL) n++;
        if (n + 1 >= option->room) {
            (void)cli_usage(cmd, "%s is given more than %d times", option->name, option->room - 1);
            return false;
        }
        option->values[n] = value;
        option->values[n + 1] = NULL;
    } else {
        *option->value = value;
    }
    return true;
}

must_check bool cli_parse_options(const cli_command *cmd, int argc, char **argv,
                                  const cli_option *options, int option_count,
                                  const char **words, int max_words, int *word_count)
{
    bool ended = false;

    *word_count = 0;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i], *value = NULL;

        /* A dash alone is the word for standard input. */
        if (ended || arg[0] != '-' || arg[1] == '\0') {
            if (*word_count == max_words) {
                (void)cli_usage(cmd, max_words == 0 ? "takes no argument '%s'" : "one argument too many: '%s'", arg);
                return false;
            }
            words[(*word_count)++] = arg;
            continue;
        }
        if (strcmp(arg, "--") == 0) { ended = true; continue; }
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            print_help(cmd);
            exit(EXIT_WELL);
        }
        const cli_option *option = find_option(options, option_count, arg, &value);
        if (option == NULL) {
            (void)cli_usage(cmd, "unknown option '%s'", arg);
            return false;
        }
        if (option->flag != NULL) {
            if (value != NULL) { (void)cli_usage(cmd, "%s takes no value", option->name); return false; }
            *option->flag = true;
            continue;
        }
        if (value == NULL) {
            if (i + 1 == argc) { (void)cli_usage(cmd, "%s needs a value", option->name); return false; }
            value = argv[++i];
        }
        if (!set_option(cmd, option, value)) return false;
    }
    return true;
}

must_check err cli_read_file(arena *mem, const char *path, slice *out, err_info *why)
{
    bool standard = strcmp(path, "-") == 0;
    FILE *file = standard ? stdin : fopen(path, "rb");
    buf bytes = buf_in(NULL);
    err e = ERR_OK;

    if (file == NULL) return err_set(why, ERR_IO, "cannot read %s: %s", path, strerror(errno));
    for (;;) {
        size_t n = fread(buf_room(&bytes, 65536), 1, 65536, file);
        bytes.len += n;
        if (n == 0) break;
    }
    if (ferror(file)) e = err_set(why, ERR_IO, "cannot read %s: %s", standard ? "standard input" : path, strerror(errno));
    if (!standard) (void)fclose(file);
    if (e == ERR_OK) *out = arena_dup(mem, buf_slice(&bytes));
    buf_free(&bytes);
    return e;
}

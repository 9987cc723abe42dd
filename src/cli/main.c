/* cli/main.c -- interop: finds the command. */
#include <malloc.h>
#include <stdio.h>
#include <sys/prctl.h>

#include "base/sanitizer.h"
#include "cli/cli.h"
#include "engine/words.h"

static const cli_command *const commands[] = {
    &cli_run, &cli_migrate, &cli_connector, &cli_rule, &cli_pack, &cli_message, &cli_lane, &cli_node, &cli_quarantine,
    &cli_map, &cli_parse, &cli_send, &cli_listen, &cli_fhir_demo,
};

static void print_usage(FILE *f)
{
    (void)fprintf(f, "interop %s: takes HL7 v2 in, keeps it safe, maps it with Lua scripts, delivers FHIR\n\n",
                  INTEROP_VERSION);
    for (size_t i = 0; i < countof(commands); i++)
        (void)fprintf(f, "  %-11s %s\n", commands[i]->name, commands[i]->summary);
    (void)fputs("\n`interop COMMAND --help` tells more. Exit codes: 0 all well, 1 findings or failures, 2 wrong usage.\n", f);
}

/* Messages are in our memory, and must not be in a core dump (promise P9). LeakSanitizer
 * needs to trace its own process. */
static void forbid_dumps(void)
{
#if !UNDER_ASAN
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
}

/* Jobs come and go by the thousand: without fastbins no free has to put them together again, and
 * memory that will be wanted at once is not given back. */
static void tune_malloc(void)
{
    (void)mallopt(M_MXFAST, 0);
    (void)mallopt(M_TRIM_THRESHOLD, 32 << 20);
}

int main(int argc, char **argv)
{
    const char *names[countof(commands)];
    slice given;

    forbid_dumps();
    tune_malloc();
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    given = slice_of(argv[1]);
    if (slice_is(given, "--help") || slice_is(given, "-h") || slice_is(given, "help")) {
        print_usage(stdout);
        return EXIT_WELL;
    }
    if (slice_is(given, "--version") || slice_is(given, "version")) {
        (void)puts("interop " INTEROP_VERSION);
        return EXIT_WELL;
    }
    for (size_t i = 0; i < countof(commands); i++) {
        if (!slice_is(given, commands[i]->name)) {
            names[i] = commands[i]->name;
            continue;
        }
        int code = commands[i]->run(argc - 1, argv + 1);
        if (fflush(stdout) == 0 && !ferror(stdout)) return code;
        (void)fputs("interop: cannot write to standard output\n", stderr);
        return code == EXIT_WELL ? EXIT_FINDINGS : code;
    }
    (void)fprintf(stderr, "interop: there is no command \"%s\"%s; `interop --help` lists them\n", words_show(given).text,
                  words_suggest(given, names, sizeof *names, countof(names)).text);
    return EXIT_USAGE;
}

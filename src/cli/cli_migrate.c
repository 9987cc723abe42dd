/* cli/cli_migrate.c -- interop migrate. */
#include "cli/cli.h"
#include "engine/config.h"
#include "store/migrate.h"

static void say_line(void *arg, const char *line)
{
    (void)arg;
    (void)puts(line);
}

static int run(int argc, char **argv)
{
    const char *file = NULL;
    const cli_option options[] = { { "--config", &file, NULL, NULL, 0 } };
    const migrate_report report = { say_line, NULL };
    const char *words[1];
    int word_count;
    arena mem;
    config c;
    err_info why;
    err e;

    if (!cli_parse_options(&cli_migrate, argc, argv, options, countof(options), words, 0, &word_count))
        return EXIT_USAGE;
    arena_init(&mem);
    e = config_load(&mem, file, &c, &why);
    if (e == ERR_OK && c.owner_database_url[0] == '\0')
        e = err_set(&why, ERR_CONFIG, "set INTEROP_OWNER_DATABASE_URL to the database as the role that owns its tables, "
                    "such as postgresql://owner@127.0.0.1/interop");
    if (e == ERR_OK) e = migrate_run(c.owner_database_url, c.database_url, &report, &why);
    if (e == ERR_OK && c.database_url[0] == '\0')
        say_line(NULL, "INTEROP_DATABASE_URL is not set: no role was granted what the engine needs");
    arena_free(&mem);
    (void)fflush(stdout);
    return e == ERR_OK ? EXIT_WELL : cli_fail(&cli_migrate, &why);
}

const cli_command cli_migrate = {
    "migrate", "[--config FILE]", "brings the database to this release, and the engine's role to its rights", run,
    "INTEROP_OWNER_DATABASE_URL   postgresql://… of the role that owns (or is to own) the tables\n"
    "INTEROP_DATABASE_URL         postgresql://… of the engine's role, which is made if it is missing\n"
    "\n"
    "Runs each migration once, in order; doing it again changes nothing. Migrate first,\n"
    "then start the new release: the one before keeps running meanwhile.\n",
};

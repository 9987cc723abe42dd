/* cli/admin.c -- from options to an open database; verbs of a group. */
#include "cli/admin.h"

#include <stdlib.h>

#include "engine/words.h"
#include "store/migrate.h"

static void print_verbs(FILE *f, const cli_command *group, const cli_command *verbs, size_t count)
{
    (void)fprintf(f, "interop %s: %s\n\n", group->name, group->summary);
    for (size_t i = 0; i < count; i++)
        (void)fprintf(f, "  interop %s %s\n      %s\n", verbs[i].name, verbs[i].arguments, verbs[i].summary);
    (void)fprintf(f, "\n`interop %s VERB --help` tells more.\n", group->name);
}

/* Verbs are named "connector add": what stands behind the blank is the word. */
int cli_verbs(const cli_command *group, const cli_command *verbs, size_t count, int argc, char **argv)
{
    size_t skip = strlen(group->name) + 1;
    const char **words;
    slice given;
    int code;

    if (argc < 2) {
        print_verbs(stderr, group, verbs, count);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_verbs(stdout, group, verbs, count);
        return EXIT_WELL;
    }
    given = slice_of(argv[1]);
    for (size_t i = 0; i < count; i++)
        if (slice_is(given, verbs[i].name + skip)) return verbs[i].run(argc - 1, argv + 1);
    words = mem_alloc(count * sizeof *words);
    for (size_t i = 0; i < count; i++) words[i] = verbs[i].name + skip;
    code = cli_usage(group, "there is no \"%s %s\"%s", group->name, words_show(given).text,
                     words_suggest(given, words, sizeof *words, count).text);
    free(words);
    return code;
}

static bool check_format(admin *a, const admin_options *o, int *code)
{
    a->json = o->format != NULL && strcmp(o->format, "json") == 0;
    if (o->format == NULL || a->json || strcmp(o->format, "text") == 0) return true;
    *code = cli_usage(a->cmd, "--format is text or json");
    return false;
}

bool admin_open(admin *a, const cli_command *cmd, const admin_options *o, bool tenant_needed, int *code)
{
    const char *tenant = o->tenant != NULL ? o->tenant : getenv("INTEROP_TENANT");

    *a = (admin){ .cmd = cmd, .tenant = tenant == NULL ? slice_lit("") : slice_of(tenant) };
    arena_init(&a->mem);
    if (!check_format(a, o, code)) return false;
    if (tenant_needed && a->tenant.len == 0) {
        *code = cli_usage(cmd, "say whose: --tenant TENANT (or INTEROP_TENANT)");
        return false;
    }
    err e = config_load(&a->mem, o->config, &a->config, &a->why);
    if (e == ERR_OK && a->config.database_url[0] == '\0')
        e = err_set(&a->why, ERR_CONFIG, "no database: set INTEROP_DATABASE_URL, or database_url in the configuration file");
    if (e == ERR_OK) e = db_open(a->config.database_url, "interop cli", &a->db, &a->why);
    if (e == ERR_OK) e = migrate_check(a->db, &a->why);
    if (e == ERR_OK) return true;
    *code = cli_fail(cmd, &a->why);
    return false;
}

int admin_end(admin *a, err e)
{
    if (e == ERR_OK) return EXIT_WELL;
    db_rollback(a->db);
    return cli_fail(a->cmd, &a->why);
}

void admin_close(admin *a)
{
    db_close(a->db);
    arena_free(&a->mem);
}

bool admin_int(const admin *a, const char *name, const char *text, int64_t standard, int64_t least, int64_t most,
               int64_t *out)
{
    *out = standard;
    if (text == NULL) return true;
    if (slice_int(slice_of(text), out) && *out >= least && *out <= most) return true;
    (void)cli_usage(a->cmd, "%s is a number from %lld to %lld", name, (long long)least, (long long)most);
    return false;
}

void admin_print(const buf *line)
{
    (void)fwrite(line->ptr, 1, line->len, stdout);
    (void)putchar('\n');
}

int admin_read(const cli_command *cmd, int argc, char **argv, bool tenant_needed, err (*read)(admin *a, void *rows),
               void (*print)(admin *a, const void *rows), void *rows)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[1];
    int word_count, code;
    admin a;

    if (!cli_parse_options(cmd, argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (admin_open(&a, cmd, &o, tenant_needed, &code)) {
        err e = db_begin(a.db, a.tenant, &a.why);
        if (e == ERR_OK) e = read(&a, rows);
        if (e == ERR_OK) e = db_commit(a.db, &a.why);
        if (e == ERR_OK) print(&a, rows);
        code = admin_end(&a, e);
    }
    admin_close(&a);
    return code;
}

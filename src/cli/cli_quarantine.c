/* cli/cli_quarantine.c -- interop quarantine list|show|release. */
#include <stdio.h>

#include "cli/admin.h"
#include "store/quarantine.h"

static int run_list(int argc, char **argv);
static int run_show(int argc, char **argv);
static int run_release(int argc, char **argv);

static const cli_command verbs[] = {
    { "quarantine list", "--tenant TENANT [--connector NAME] [--reason REASON] [--all] [--limit N]",
      "what could not be stored as a message, newest first", run_list,
      ADMIN_HELP
      "  --connector NAME  of this connector (name or id)\n"
      "  --reason REASON   such as bad-framing\n"
      "  --all             what was released, too\n"
      "  --limit N         at most so many (50)\n"
      "  --before ID       older than this one: the next page\n" },
    { "quarantine show", "ID --tenant TENANT [--format text|json|raw]", "one of them", run_show,
      ADMIN_HELP
      "  --format raw      exactly the bytes that came in\n" },
    { "quarantine release", "ID… --tenant TENANT", "has the engine ingest them again", run_release, ADMIN_HELP },
};

static slice opt(const char *text) { return text == NULL ? SLICE_NONE : slice_of(text); }

static void print_json(admin *a, const quarantined *q)
{
    buf line = buf_in(&a->mem);

    quarantine_json(&line, q);
    admin_print(&line);
}

static void print_list(admin *a, const quarantined *rows, size_t count, int64_t limit)
{
    static const char *const heads[] = { "LAST", "ID", "CONNECTOR", "REASON", "COUNT", "BYTES", "PEER", "DETAIL" };
    table *t = table_new(&a->mem, heads, countof(heads));

    for (size_t i = 0; i < count; i++) {
        const quarantined *q = &rows[i];
        if (a->json) { print_json(a, q); continue; }
        table_add(t, (slice){ q->last_at.ptr, q->last_at.len < 19 ? q->last_at.len : 19 });
        table_add(t, q->id);
        table_add(t, q->connector_name);
        table_add(t, q->reason);
        table_add_int(t, q->count);
        table_add_int(t, q->byte_count);
        table_add(t, q->peer);
        table_add(t, q->detail);
    }
    if (a->json) return;
    if (count == 0) (void)puts("nothing in quarantine");
    else table_print(t);
    if (count > 0 && (int64_t)count == limit)
        (void)fprintf(stderr, "the next page: --before %.*s\n", (int)rows[count - 1].id.len, rows[count - 1].id.ptr);
}

static int run_list(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const char *connector = NULL, *reason = NULL, *limit = NULL, *before = NULL;
    bool all = false;
    const cli_option options[] = {
        ADMIN_OPTIONS(o),
        { "--connector", &connector, NULL, NULL, 0 }, { "--reason", &reason, NULL, NULL, 0 },
        { "--limit", &limit, NULL, NULL, 0 }, { "--before", &before, NULL, NULL, 0 }, { "--all", NULL, &all, NULL, 0 },
    };
    const char *words[1];
    int word_count, code;
    quarantined *rows;
    size_t count;
    admin a;

    if (!cli_parse_options(&verbs[0], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (admin_open(&a, &verbs[0], &o, true, &code)) {
        quarantine_filter f = { .connector = opt(connector), .reason = opt(reason), .released = all, .before = opt(before) };
        code = EXIT_USAGE;
        if (admin_int(&a, "--limit", limit, 50, 1, 1000000, &f.limit)) {
            err e = db_begin(a.db, a.tenant, &a.why);
            if (e == ERR_OK) e = quarantine_list(a.db, &a.mem, &f, &rows, &count, &a.why);
            if (e == ERR_OK) e = db_commit(a.db, &a.why);
            if (e == ERR_OK) print_list(&a, rows, count, f.limit);
            code = admin_end(&a, e);
        }
    }
    admin_close(&a);
    return code;
}

static err show(admin *a, slice id, bool raw)
{
    slice bytes = SLICE_NONE;
    quarantined q;
    err e = db_begin(a->db, a->tenant, &a->why);

    if (e == ERR_OK) e = quarantine_get(a->db, &a->mem, id, &q, &a->why);
    if (e == ERR_OK && raw) e = quarantine_bytes(a->db, &a->mem, id, &bytes, &a->why);
    if (e == ERR_OK) e = db_commit(a->db, &a->why);
    if (e != ERR_OK) return e;
    if (raw) {
        (void)fwrite(bytes.ptr, 1, bytes.len, stdout);
    } else if (a->json) {
        print_json(a, &q);
    } else {
        const struct { const char *name; slice value; } lines[] = {
            { "id", q.id }, { "connector", q.connector_name }, { "reason", q.reason }, { "detail", q.detail },
            { "peer", q.peer }, { "first", q.first_at }, { "last", q.last_at }, { "released", q.released_at },
            { "became", q.message_id },
        };
        for (size_t i = 0; i < countof(lines); i++) {
            if (lines[i].value.len == 0) continue;
            (void)printf("%-12s", lines[i].name);
            admin_print_text(lines[i].value);
            (void)putchar('\n');
        }
        (void)printf("%-12s%lld\n%-12s%lld%s\n", "count", (long long)q.count, "bytes", (long long)q.byte_count,
                     q.cut ? " (only a part was kept)" : "");
    }
    return ERR_OK;
}

static int run_show(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[1];
    int word_count, code;
    bool raw;
    admin a;

    if (!cli_parse_options(&verbs[1], argc, argv, options, countof(options), words, 1, &word_count)) return EXIT_USAGE;
    if (word_count == 0) return cli_usage(&verbs[1], "say which: its id, see `interop quarantine list`");
    raw = o.format != NULL && strcmp(o.format, "raw") == 0;
    if (raw) o.format = NULL;
    if (admin_open(&a, &verbs[1], &o, true, &code)) code = admin_end(&a, show(&a, slice_of(words[0]), raw));
    admin_close(&a);
    return code;
}

#define RELEASES_MAX 1000

static int run_release(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[RELEASES_MAX];
    int word_count, code;
    admin a;

    if (!cli_parse_options(&verbs[2], argc, argv, options, countof(options), words, RELEASES_MAX, &word_count))
        return EXIT_USAGE;
    if (word_count == 0) return cli_usage(&verbs[2], "say which: its id, see `interop quarantine list`");
    if (admin_open(&a, &verbs[2], &o, true, &code)) {
        code = EXIT_WELL;
        for (int i = 0; i < word_count; i++) {               /* each alone: one that may not holds up none */
            err e = db_begin(a.db, a.tenant, &a.why);
            if (e == ERR_OK) e = quarantine_release(a.db, &a.mem, slice_of(words[i]), &a.why);
            if (e == ERR_OK) e = db_commit(a.db, &a.why);
            if (e == ERR_OK) (void)printf(a.json ? "{\"id\":\"%s\",\"released\":true}\n" : "%s released\n", words[i]);
            int one = admin_end(&a, e);
            if (one > code) code = one;
        }
    }
    admin_close(&a);
    return code;
}

static int run(int argc, char **argv) { return cli_verbs(&cli_quarantine, verbs, countof(verbs), argc, argv); }

const cli_command cli_quarantine = {
    "quarantine", "list|show|release …", "looks at what could not be stored, and has it ingested again", run, NULL
};

/* cli/cli_lane.c -- interop lane list: where messages wait, and for which. */
#include <stdio.h>

#include "cli/admin.h"
#include "store/lanes.h"

static int run_list(int argc, char **argv);

static const cli_command verbs[] = {
    { "lane list", "--tenant TENANT [--connector NAME] [--held] [--limit N]",
      "the ordering keys in which messages wait, the longest first", run_list,
      ADMIN_HELP
      "  --connector NAME  of this connector (name or id)\n"
      "  --held            only where the first message has failed, so that the others wait for it\n"
      "  --limit N         at most so many (50)\n\n"
      "A key is personal data where it names a patient. STAGE: transform waits for the script, deliver\n"
      "for the service. See `interop message show` for the first message of a lane, the HEAD.\n" },
};

static void print_json(const lane_row *l)
{
    buf line = buf_in(NULL);

    row_begin(&line);
    row_text(&line, "connectorName", l->connector_name);
    row_text(&line, "stage", l->stage);
    row_text(&line, "serviceUrl", l->service_url);
    row_text(&line, "key", l->key);
    row_text(&line, "messageId", l->message_id);
    row_text(&line, "status", l->status);
    row_text(&line, "errorDetail", l->error_detail);
    row_int(&line, "attemptCount", l->attempt_count);
    row_int(&line, "waiting", l->waiting);
    row_text(&line, "since", l->since);
    row_text(&line, "nextAttemptAt", l->next_attempt_at);
    row_end(&line);
    admin_print(&line);
    buf_free(&line);
}

static slice seconds(slice time) { return (slice){ time.ptr, time.len < 19 ? time.len : 19 }; }

static void print_list(admin *a, const lane_row *rows, size_t count)
{
    static const char *const heads[] = {
        "SINCE", "CONNECTOR", "STAGE", "KEY", "HEAD", "STATUS", "TRIES", "NEXT", "WAITING", "SERVICE", "ERROR"
    };
    table *t = table_new(&a->mem, heads, countof(heads));

    for (size_t i = 0; i < count; i++) {
        const lane_row *l = &rows[i];
        if (a->json) { print_json(l); continue; }
        table_add(t, seconds(l->since));
        table_add(t, l->connector_name);
        table_add(t, l->stage);
        table_add(t, l->key);
        table_add(t, l->message_id);
        table_add(t, l->status);
        table_add_int(t, l->attempt_count);
        table_add(t, seconds(l->next_attempt_at));
        table_add_int(t, l->waiting);
        table_add(t, l->service_url);
        table_add(t, l->error_detail);
    }
    if (a->json) return;
    if (count == 0) (void)puts("nothing waits");
    else table_print(t);
}

static int run_list(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const char *connector = NULL, *limit = NULL, *words[1];
    bool held = false;
    const cli_option options[] = {
        ADMIN_OPTIONS(o), { "--connector", &connector, NULL, NULL, 0 }, { "--held", NULL, &held, NULL, 0 },
        { "--limit", &limit, NULL, NULL, 0 },
    };
    int word_count, code = EXIT_USAGE;
    int64_t most;
    lane_row *rows;
    size_t count;
    admin a;

    if (!cli_parse_options(&verbs[0], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (admin_open(&a, &verbs[0], &o, true, &code)) {
        code = EXIT_USAGE;
        if (admin_int(&a, "--limit", limit, 50, 1, 1000000, &most)) {
            err e = db_begin(a.db, a.tenant, &a.why);
            if (e == ERR_OK)
                e = lanes_list(a.db, &a.mem, connector == NULL ? SLICE_NONE : slice_of(connector), held, most, &rows, &count, &a.why);
            if (e == ERR_OK) e = db_commit(a.db, &a.why);
            if (e == ERR_OK) print_list(&a, rows, count);
            code = admin_end(&a, e);
        }
    }
    admin_close(&a);
    return code;
}

static int run(int argc, char **argv) { return cli_verbs(&cli_lane, verbs, countof(verbs), argc, argv); }

const cli_command cli_lane = {
    "lane", "list …", "shows where messages wait, and for which", run, NULL
};

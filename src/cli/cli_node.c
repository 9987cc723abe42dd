/* cli/cli_node.c -- interop node list: the engines that share the database. */
#include <stdio.h>

#include "cli/admin.h"
#include "store/nodes.h"

static int run_list(int argc, char **argv);

static const cli_command verbs[] = {
    { "node list", "[--format text|json]", "the engines that share the database, and how many connectors each runs", run_list,
      ADMIN_HELP "\n"
      "A node whose leases are EXPIRED does not answer; others take its connectors some seconds later.\n" },
};

static void print_json(const node_row *n)
{
    buf line = buf_in(NULL);

    row_begin(&line);
    row_text(&line, "id", n->id);
    row_text(&line, "name", n->name);
    row_text(&line, "release", n->release);
    row_text(&line, "startedAt", n->started_at);
    row_text(&line, "expiresAt", n->expires_at);
    row_bool(&line, "expired", n->expired);
    row_int(&line, "connectors", n->connectors);
    row_end(&line);
    admin_print(&line);
    buf_free(&line);
}

static slice seconds(slice time) { return (slice){ time.ptr, time.len < 19 ? time.len : 19 }; }

static void print_list(admin *a, const node_row *rows, size_t count)
{
    static const char *const heads[] = { "STARTED", "NODE", "NAME", "RELEASE", "CONNECTORS", "LEASES" };
    table *t = table_new(&a->mem, heads, countof(heads));

    for (size_t i = 0; i < count; i++) {
        const node_row *n = &rows[i];
        if (a->json) { print_json(n); continue; }
        table_add(t, seconds(n->started_at));
        table_add(t, n->id);
        table_add(t, n->name);
        table_add(t, n->release);
        table_add_int(t, n->connectors);
        table_add(t, n->expired ? slice_lit("EXPIRED") : slice_lit("held"));
    }
    if (a->json) return;
    if (count == 0) (void)puts("no engine runs");
    else table_print(t);
}

static int run_list(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[1];
    int word_count, code;
    node_row *rows;
    size_t count;
    admin a;

    if (!cli_parse_options(&verbs[0], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (admin_open(&a, &verbs[0], &o, false, &code)) {
        err e = db_begin(a.db, SLICE_NONE, &a.why);
        if (e == ERR_OK) e = nodes_list(a.db, &a.mem, &rows, &count, &a.why);
        if (e == ERR_OK) e = db_commit(a.db, &a.why);
        if (e == ERR_OK) print_list(&a, rows, count);
        code = admin_end(&a, e);
    }
    admin_close(&a);
    return code;
}

static int run(int argc, char **argv) { return cli_verbs(&cli_node, verbs, countof(verbs), argc, argv); }

const cli_command cli_node = {
    "node", "list …", "shows the engines that share the database", run, NULL
};

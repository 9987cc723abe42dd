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

typedef struct listed { node_row *rows; size_t count; } listed;

static void print_list(admin *a, const void *rows)
{
    const listed *l = rows;
    static const char *const heads[] = { "STARTED", "NODE", "NAME", "RELEASE", "CONNECTORS", "LEASES" };
    table *t = table_new(&a->mem, heads, countof(heads));

    for (size_t i = 0; i < l->count; i++) {
        const node_row *n = &l->rows[i];
        if (a->json) { print_json(n); continue; }
        table_add(t, seconds(n->started_at));
        table_add(t, n->id);
        table_add(t, n->name);
        table_add(t, n->release);
        table_add_int(t, n->connectors);
        table_add(t, n->expired ? slice_lit("EXPIRED") : slice_lit("held"));
    }
    if (a->json) return;
    if (l->count == 0) (void)puts("no engine runs");
    else table_print(t);
}

static err read_list(admin *a, void *rows)
{
    listed *l = rows;
    return nodes_list(a->db, &a->mem, &l->rows, &l->count, &a->why);
}

static int run_list(int argc, char **argv)
{
    return admin_read(&verbs[0], argc, argv, false, read_list, print_list, &(listed){ NULL, 0 });
}

static int run(int argc, char **argv) { return cli_verbs(&cli_node, verbs, countof(verbs), argc, argv); }

const cli_command cli_node = {
    "node", "list …", "shows the engines that share the database", run, NULL
};

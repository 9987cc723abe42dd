/* cli/cli_rule.c -- interop rule add|list|deactivate: where resources go. */
#include <stdio.h>
#include <stdlib.h>

#include "cli/admin.h"
#include "engine/words.h"
#include "fhir/r4.h"
#include "store/rules.h"

static int run_add(int argc, char **argv);
static int run_list(int argc, char **argv);
static int run_deactivate(int argc, char **argv);

static const cli_command verbs[] = {
    { "rule add", "--type TYPE --url URL [--category C] [--profile P] [--priority N] [--name SERVICE]",
      "sends resources of a type to a FHIR service", run_add,
      "  --type TYPE       a FHIR resource type, or * for what no other rule takes\n"
      "  --url URL         the service's base, such as http://127.0.0.1:8090/fhir\n"
      "  --category C      only resources of this category\n"
      "  --profile P       only resources that claim this profile\n"
      "  --priority N      among rules that match equally well, the higher one wins (0)\n"
      "  --fan-out         searches ask this service beside the others\n"
      "  --name SERVICE    what scripts call the service; its host when not said\n"
      "  --tenant TENANT   the service is this tenant's alone; without it every tenant's\n"
      "  --no-transactions it takes no transaction Bundles\n"
      "  --concurrency N   most requests at a time (16)\n"
      "  --ca FILE         PEM file of who signed its certificate; the system's when not said\n"
      "  --format FORMAT   text (default) or json\n"
      "  --config FILE     configuration (or INTEROP_CONFIG); INTEROP_DATABASE_URL names the database\n" },
    { "rule list", "[--all]", "the rules, most specific first", run_list,
      ADMIN_HELP
      "  --all             those that were taken out of use, too\n" },
    { "rule deactivate", "ID", "takes a rule out of use", run_deactivate, ADMIN_HELP },
};

static void print_rule(admin *a, const rule_row *r)
{
    buf line = buf_in(&a->mem);

    rule_json(&line, r);
    admin_print(&line);
}

static bool check_type(const char *type)
{
    if (type == NULL) {
        (void)cli_usage(&verbs[0], "say which resources: --type TYPE, or --type '*' for all");
        return false;
    }
    if (strcmp(type, "*") == 0 || r4_type_find(slice_of(type)) != NULL) return true;
    (void)cli_usage(&verbs[0], "FHIR R4 has no resource type \"%s\"%s", words_show(slice_of(type)).text,
                    words_suggest(slice_of(type), &r4_types[0].name, sizeof r4_types[0], r4_type_count).text);
    return false;
}

static err add(admin *a, rule_row *rule, service_row *service)
{
    err e = db_begin(a->db, a->tenant, &a->why);

    if (e == ERR_OK) e = services_put(a->db, &a->mem, service, &a->why);
    if (e == ERR_OK) e = rules_add(a->db, &a->mem, rule, &a->why);
    if (e == ERR_OK) e = db_commit(a->db, &a->why);
    if (e != ERR_OK) return e;
    rule->service_name = service->name;
    print_rule(a, rule);
    return ERR_OK;
}

static int run_add(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const char *type = NULL, *category = NULL, *profile = NULL, *url = NULL, *name = NULL, *ca = NULL;
    const char *priority = NULL, *concurrency = NULL;
    bool fan_out = false, single = false;
    const cli_option options[] = {
        ADMIN_OPTIONS(o),
        { "--type", &type, NULL, NULL, 0 }, { "--category", &category, NULL, NULL, 0 },
        { "--profile", &profile, NULL, NULL, 0 }, { "--url", &url, NULL, NULL, 0 }, { "--name", &name, NULL, NULL, 0 },
        { "--ca", &ca, NULL, NULL, 0 }, { "--priority", &priority, NULL, NULL, 0 },
        { "--concurrency", &concurrency, NULL, NULL, 0 }, { "--fan-out", NULL, &fan_out, NULL, 0 },
        { "--no-transactions", NULL, &single, NULL, 0 },
    };
    const char *words[1];
    char *ca_path = NULL;
    int word_count, code;
    rule_row rule;
    service_row service;
    slice base, host;
    err_info why;
    admin a;

    if (!cli_parse_options(&verbs[0], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (!check_type(type)) return EXIT_USAGE;
    if (url == NULL) return cli_usage(&verbs[0], "say where to: --url URL, the service's base");
    if (rule_url(slice_of(url), &base, &host, &why) != ERR_OK) return cli_usage(&verbs[0], "--url: %s", why.text);
    if (ca != NULL && (ca_path = realpath(ca, NULL)) == NULL)
        return cli_usage(&verbs[0], "--ca: there is no file %s", words_show(slice_of(ca)).text);
    if (admin_open(&a, &verbs[0], &o, false, &code)) {
        a.tenant = slice_of(o.tenant);   /* said here and not by INTEROP_TENANT: most services are shared */
        rule = (rule_row){ .resource_type = slice_of(type), .category = slice_of(category), .profile = slice_of(profile),
                           .service_url = base, .fan_out = fan_out };
        service = (service_row){ .tenant_id = a.tenant, .name = slice_of(name),
                                 .url = base, .transactions = !single, .ca_file = slice_of(ca_path) };
        code = EXIT_USAGE;
        if (admin_int(&a, "--priority", priority, 0, -1000000, 1000000, &rule.priority) &&
            admin_int(&a, "--concurrency", concurrency, 16, 1, 1024, &service.concurrency))
            code = admin_end(&a, add(&a, &rule, &service));
    }
    admin_close(&a);
    free(ca_path);
    return code;
}

static void print_list(admin *a, const rule_row *rows, size_t count, bool all)
{
    static const char *const heads[] = { "ID", "TYPE", "CATEGORY", "PROFILE", "PRIORITY", "FAN OUT", "SERVICE", "URL", "STATE" };
    table *t = table_new(&a->mem, heads, countof(heads) - (all ? 0 : 1));

    for (size_t i = 0; i < count; i++) {
        const rule_row *r = &rows[i];
        if (a->json) { print_rule(a, r); continue; }
        table_add(t, r->id);
        table_add(t, r->resource_type);
        table_add(t, r->category);
        table_add(t, r->profile);
        table_add_int(t, r->priority);
        table_add(t, slice_of(r->fan_out ? "yes" : "no"));
        table_add(t, r->service_name);
        table_add(t, r->service_url);
        if (all) table_add(t, slice_of(r->active ? "active" : "out of use"));
    }
    if (a->json) return;
    if (count == 0) (void)puts("no rules: `interop rule add --type '*' --url URL` makes one");
    else table_print(t);
}

static int run_list(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    bool all = false;
    const cli_option options[] = { ADMIN_OPTIONS(o), { "--all", NULL, &all, NULL, 0 } };
    const char *words[1];
    int word_count, code;
    rule_row *rows;
    size_t count;
    admin a;

    if (!cli_parse_options(&verbs[1], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (admin_open(&a, &verbs[1], &o, false, &code)) {
        err e = db_begin(a.db, a.tenant, &a.why);
        if (e == ERR_OK) e = rules_list(a.db, &a.mem, all, &rows, &count, &a.why);
        if (e == ERR_OK) e = db_commit(a.db, &a.why);
        if (e == ERR_OK) print_list(&a, rows, count, all);
        code = admin_end(&a, e);
    }
    admin_close(&a);
    return code;
}

static int run_deactivate(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[1];
    int word_count, code;
    admin a;

    if (!cli_parse_options(&verbs[2], argc, argv, options, countof(options), words, 1, &word_count)) return EXIT_USAGE;
    if (word_count == 0) return cli_usage(&verbs[2], "say which rule: its id, see `interop rule list`");
    if (admin_open(&a, &verbs[2], &o, false, &code)) {
        err e = db_begin(a.db, SLICE_NONE, &a.why);
        if (e == ERR_OK) e = rules_deactivate(a.db, slice_of(words[0]), &a.why);
        if (e == ERR_OK) e = db_commit(a.db, &a.why);
        if (e == ERR_OK) (void)printf(a.json ? "{\"id\":\"%s\",\"active\":false}\n" : "%s out of use\n", words[0]);
        code = admin_end(&a, e);
    }
    admin_close(&a);
    return code;
}

static int run(int argc, char **argv) { return cli_verbs(&cli_rule, verbs, countof(verbs), argc, argv); }

const cli_command cli_rule = {
    "rule", "add|list|deactivate …", "says which FHIR service takes which resources", run, NULL
};

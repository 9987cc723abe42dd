/* cli/cli_fhir_demo.c -- interop fhir-demo: runs the demo FHIR store until it is told to stop. */
#include <signal.h>
#include <stdlib.h>
#include <uv.h>

#include "cli/cli.h"
#include "demo/demo.h"
#include "engine/config.h"
#include "store/pg.h"

enum { CONNECTIONS = 4 };

typedef struct running {
    uv_loop_t   loop;
    uv_signal_t stop[2];                 /* SIGINT, SIGTERM */
    demo       *demo;
} running;

static void on_demo_closed(void *arg)
{
    running *r = arg;

    for (size_t i = 0; i < countof(r->stop); i++) uv_close((uv_handle_t *)&r->stop[i], NULL);
}

static void on_stop(uv_signal_t *s, int number)
{
    running *r = s->data;

    (void)number;
    for (size_t i = 0; i < countof(r->stop); i++) (void)uv_signal_stop(&r->stop[i]);
    demo_close(r->demo, on_demo_closed, r);
}

/* Runs the loop to its end; ERR_OK after a clean stop. */
static err serve(const demo_config *how, err_info *why)
{
    static const int numbers[] = { SIGINT, SIGTERM };
    running r = { .demo = NULL };
    err e;

    if (uv_loop_init(&r.loop) != 0) return err_set(why, ERR_IO, "cannot make an event loop");
    e = demo_open(&r.loop, how, &r.demo, why);
    for (size_t i = 0; e == ERR_OK && i < countof(numbers); i++) {
        (void)uv_signal_init(&r.loop, &r.stop[i]);
        r.stop[i].data = &r;
        (void)uv_signal_start(&r.stop[i], on_stop, numbers[i]);
    }
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&r.loop) != 0) die("fhir-demo: a handle was left open");
    return e;
}

static int run(int argc, char **argv)
{
    const char *http = "127.0.0.1:8090", *database = NULL, *schema = "fhir_demo";
    const cli_option options[] = {
        { "--http", &http, NULL, NULL, 0 }, { "--database", &database, NULL, NULL, 0 },
        { "--schema", &schema, NULL, NULL, 0 },
    };
    demo_config d = { .connections = CONNECTIONS };
    const char *words[1];
    int word_count;
    arena mem = { 0 };
    config c;
    err_info why;
    err e;

    if (!cli_parse_options(&cli_fhir_demo, argc, argv, options, countof(options), words, 0, &word_count))
        return EXIT_USAGE;
    (void)signal(SIGPIPE, SIG_IGN);
    e = config_load(&mem, NULL, &c, &why);
    if (e == ERR_OK) {
        config_apply_log(&c);
        pg_set_patience((uint64_t)c.database_patience);
        if (database == NULL) database = getenv("INTEROP_DEMO_DATABASE_URL");
        d.url = database != NULL && database[0] != '\0' ? database : c.owner_database_url;
        d.schema = schema;
        if (d.url[0] == '\0')
            e = err_set(&why, ERR_CONFIG, "no database: give --database postgresql://… or set "
                                          "INTEROP_DEMO_DATABASE_URL");
        else if (!config_address(&mem, slice_of(http), &d.address, &d.port))
            e = err_set(&why, ERR_USAGE, "--http must be like 127.0.0.1:8090");
    }
    if (e == ERR_OK) e = serve(&d, &why);
    arena_free(&mem);
    return e == ERR_OK ? EXIT_WELL : cli_fail(&cli_fhir_demo, &why);
}

const cli_command cli_fhir_demo = {
    "fhir-demo", "[--http 127.0.0.1:8090] [--database URL] [--schema NAME]",
    "a small FHIR R4 store for trying out and for tests; a demo, with no authentication", run,
    "--http ADDRESS:PORT   where to listen; the FHIR base is http://ADDRESS:PORT/fhir\n"
    "--database URL        PostgreSQL; else INTEROP_DEMO_DATABASE_URL, else INTEROP_OWNER_DATABASE_URL.\n"
    "                      The role must be allowed to make a schema there\n"
    "--schema NAME         the store's own schema, fhir_demo if not given; several stores can share\n"
    "                      a database under different names\n"
    "\n"
    "Create, read, update, patch, delete, their conditional forms, history, search by _id, _lastUpdated,\n"
    "identifier, patient, subject and more (see /fhir/metadata), batch and transaction Bundles.\n",
};

/* cli/cli_run.c -- `interop run`: the engine and its HTTP listener, until SIGTERM or SIGINT. */
#include <signal.h>
#include <unistd.h>

#include "api/api.h"
#include "base/log.h"
#include "cli/cli.h"
#include "engine/pack_folder.h"

typedef struct running {
    uv_loop_t   loop;
    arena       mem;
    config      cfg;
    engine     *e;
    api        *http;
    uv_signal_t term, interrupt;
    uv_timer_t  watch;                   /* for what stands in the way for good */
    bool        closing;
    int         code;
} running;

static void on_handle_closed(uv_handle_t *h) { (void)h; }

static void on_engine_closed(void *arg)
{
    running *r = arg;

    uv_close((uv_handle_t *)&r->term, on_handle_closed);
    uv_close((uv_handle_t *)&r->interrupt, on_handle_closed);
    uv_close((uv_handle_t *)&r->watch, on_handle_closed);
}

static void on_api_closed(void *arg)
{
    running *r = arg;
    engine_close(r->e, on_engine_closed, r);
}

static void stop(running *r)
{
    if (r->closing) return;
    r->closing = true;
    api_close(r->http, on_api_closed, r);
}

static void on_signal(uv_signal_t *s, int signum)
{
    running *r = s->data;

    if (r->closing) {                    /* asked twice: what is committed is safe */
        log_line(LOG_WARN, "engine.stopped_at_once", log_int("signal", signum));
        _exit(1);
    }
    log_line(LOG_INFO, "engine.stopping", log_int("signal", signum));
    stop(r);
}

static void on_watch(uv_timer_t *t)
{
    running *r = t->data;
    err_info why;

    if (r->closing || engine_fatal(r->e, &why) == ERR_OK) return;
    log_line(LOG_ERROR, "engine.cannot_run", log_why(&why));
    r->code = EXIT_USAGE;
    stop(r);
}

static int run(int argc, char **argv);

const cli_command cli_run = {
    .name = "run", .arguments = "[--config FILE]", .summary = "runs the engine until it is told to stop", .run = run,
    .help = "  --config FILE   the configuration file (default: what INTEROP_CONFIG names)\n\n"
            "Its keys, their defaults and what they mean; an environment variable, INTEROP_ and the key\n"
            "in capitals, counts more than the file:\n",
};

static err begin(running *r, const char *file, err_info *why)
{
    const char *lua_dir;
    err e = config_load(&r->mem, file, &r->cfg, why);

    if (e == ERR_OK) e = pack_folder_lua_dir(&r->mem, &lua_dir, why);
    if (e != ERR_OK) return e;
    config_apply_log(&r->cfg);
    config_check_environment();
    if (uv_loop_init(&r->loop) != 0) die("uv_loop_init failed");
    e = engine_open(&r->loop, &r->cfg, lua_dir, &r->e, why);
    if (e != ERR_OK) return e;
    return api_open(&r->loop, &r->cfg, r->e, &r->http, why);
}

static int run(int argc, char **argv)
{
    static running r;
    const char *file = NULL, *words[1];
    const cli_option options[] = { { .name = "--config", .value = &file } };
    cli_command self = cli_run;
    buf help = buf_in(&r.mem);
    err_info why;
    int count;

    buf_puts(&help, cli_run.help);
    config_describe(&help);
    buf_putc(&help, '\0');
    self.help = help.ptr;
    if (!cli_parse_options(&self, argc, argv, options, (int)countof(options), words, 0, &count)) return EXIT_USAGE;
    (void)signal(SIGPIPE, SIG_IGN);
    if (begin(&r, file, &why) != ERR_OK) {
        (void)cli_fail(&cli_run, &why);
        return EXIT_USAGE;
    }
    if (uv_signal_init(&r.loop, &r.term) != 0 || uv_signal_init(&r.loop, &r.interrupt) != 0 ||
        uv_timer_init(&r.loop, &r.watch) != 0) die("cannot watch signals");
    r.term.data = r.interrupt.data = r.watch.data = &r;
    uv_signal_start(&r.term, on_signal, SIGTERM);
    uv_signal_start(&r.interrupt, on_signal, SIGINT);
    uv_timer_start(&r.watch, on_watch, 100, 100);
    log_line(LOG_INFO, "engine.started", log_id("http", slice_of(r.cfg.http_host)), log_int("port", api_port(r.http)));
    (void)uv_run(&r.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&r.loop) != 0) die("a handle was left open");
    arena_free(&r.mem);
    return r.code;
}

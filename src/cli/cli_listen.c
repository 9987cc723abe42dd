/* cli/cli_listen.c -- `interop listen`: a test listener that acknowledges what it gets
 * and prints one JSON object a message, without its content. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "cli/cli.h"
#include "hl7/ack.h"
#include "net/mllp_server.h"

#define FRAME_CAP ((size_t)64 << 20)
#define FRAME_MS 60000
#define DRAIN_MS 2000

typedef struct listener {
    uv_loop_t    loop;
    uv_signal_t  interrupt, terminate;
    mllp_server *server;
    hl7_ack_code code;
    const char  *out;
    uint64_t     delay_ms;
    size_t       count, seen, answered;  /* count 0: for ever */
    bool         closing, failed;
    arena        mem;                    /* one message's */
} listener;

/* An answer that --delay holds back. */
typedef struct held_answer {
    uv_timer_t   timer;
    listener    *of;
    mllp_ticket *ticket;
    buf          ack;
} held_answer;

static void on_handle_closed(uv_handle_t *h) { (void)h; }

static void on_server_closed(void *arg)
{
    listener *l = arg;
    uv_close((uv_handle_t *)&l->interrupt, on_handle_closed);
    uv_close((uv_handle_t *)&l->terminate, on_handle_closed);
}

static void close_down(listener *l)
{
    if (l->closing) return;
    l->closing = true;
    mllp_server_close(l->server, DRAIN_MS, on_server_closed, l);
}

static void on_signal(uv_signal_t *h, int number)
{
    (void)number;
    close_down(h->data);
}

static void give_answer(listener *l, mllp_ticket *t, slice ack)
{
    mllp_answer(t, ack, false);
    l->answered++;
    if (l->count > 0 && l->answered >= l->count) close_down(l);
}

static void on_held_closed(uv_handle_t *h)
{
    held_answer *a = container_of(h, held_answer, timer);
    buf_free(&a->ack);
    free(a);
}

static void on_delay_over(uv_timer_t *t)
{
    held_answer *a = container_of(t, held_answer, timer);
    give_answer(a->of, a->ticket, buf_slice(&a->ack));
    uv_close((uv_handle_t *)t, on_held_closed);
}

/* DIR/000001.hl7: the bytes of the frame and nothing else. */
static bool write_out(listener *l, slice bytes)
{
    const char *path = arena_printf(&l->mem, "%s/%06zu.hl7", l->out, l->seen).ptr;
    FILE *file = fopen(path, "wb");
    bool well = file != NULL && fwrite(bytes.ptr == NULL ? "" : bytes.ptr, 1, bytes.len, file) == bytes.len;

    if (file != NULL && fclose(file) != 0) well = false;
    if (!well) {
        fprintf(stderr, "interop listen: cannot write %s: %s\n", path, strerror(errno));
        l->failed = true;
    }
    return well;
}

static void print_line(listener *l, const mllp_ticket *t, mllp_flaw flaw, const hl7_head *head, size_t len,
                       hl7_ack_code code)
{
    buf line = buf_in(&l->mem);

    buf_printf(&line, "{\"message\":%zu,\"connection\":%llu,\"controlId\":", l->seen,
               (unsigned long long)mllp_ticket_conn(t));
    buf_json(&line, head->control_id);
    buf_puts(&line, ",\"type\":");
    buf_json(&line, head->type.len > 0 ? hl7_head_type(&l->mem, head) : SLICE_NONE);
    buf_printf(&line, ",\"bytes\":%zu,\"answer\":\"%s\"", len, hl7_ack_code_text(code));
    if (flaw != MLLP_GOOD) {
        buf_puts(&line, ",\"flaw\":");
        buf_json(&line, slice_of(mllp_flaw_text(flaw)));
    }
    buf_puts(&line, "}\n");
    (void)fwrite(line.ptr, 1, line.len, stdout);
    (void)fflush(stdout);
}

/* What is no message, or was not written, is refused whatever --code says. */
static hl7_ack_code choose(listener *l, mllp_flaw flaw, bool readable, slice bytes, hl7_ack *ack)
{
    bool commit = l->code >= HL7_CA;

    ack->error = HL7_ERROR_NONE;
    if (flaw != MLLP_GOOD || !readable) {
        ack->error = HL7_ERROR_FIELD_MISSING;
        ack->text = slice_of(flaw != MLLP_GOOD ? mllp_flaw_text(flaw) : "no MSH segment at the front");
        return commit ? HL7_CR : HL7_AR;
    }
    if (l->out != NULL && !write_out(l, bytes)) {
        ack->error = HL7_ERROR_INTERNAL;
        ack->text = slice_lit("the message could not be written");
        return commit ? HL7_CE : HL7_AE;
    }
    if (l->code != HL7_AA && l->code != HL7_CA) {
        ack->error = HL7_ERROR_INTERNAL;
        ack->text = slice_lit("this listener was told to answer so");
    }
    return l->code;
}

static void on_frame(void *arg, mllp_ticket *t, mllp_flaw flaw, slice bytes)
{
    listener *l = arg;
    char time[CLOCK_TEXT_LEN + 1];
    hl7_head head = { 0 };
    hl7_ack ack = { 0 };
    buf out = buf_in(NULL);

    arena_reset(&l->mem);
    l->seen++;
    bool readable = hl7_head_guess(bytes, &head);
    ack.code = choose(l, flaw, readable, bytes, &ack);
    (void)clock_text(clock_real_us(), time);
    ack.time = arena_printf(&l->mem, "%.4s%.2s%.2s%.2s%.2s%.2s+0000", time, time + 5, time + 8, time + 11, time + 14,
                            time + 17);
    ack.control_id = arena_printf(&l->mem, "L%zu", l->seen);
    hl7_ack_write(&out, &head, &ack);
    print_line(l, t, flaw, &head, bytes.len, ack.code);
    if (l->delay_ms == 0) {
        give_answer(l, t, buf_slice(&out));
        buf_free(&out);
        return;
    }
    held_answer *a = mem_alloc(sizeof *a);
    *a = (held_answer){ .of = l, .ticket = t, .ack = out };
    if (uv_timer_init(&l->loop, &a->timer) < 0) die("uv_timer_init");
    uv_timer_start(&a->timer, on_delay_over, l->delay_ms, 0);
}

static bool read_code(const char *text, hl7_ack_code *out)
{
    for (hl7_ack_code code = HL7_AA; code <= HL7_CR; code++)
        if (strcmp(text, hl7_ack_code_text(code)) == 0) { *out = code; return true; }
    return false;
}

static bool read_number(const char *name, const char *text, int64_t most, int64_t *out)
{
    if (text == NULL || (slice_int(slice_of(text), out) && *out >= 0 && *out <= most)) return true;
    (void)cli_usage(&cli_listen, "%s is a number from 0 to %lld", name, (long long)most);
    return false;
}

static int serve(listener *l, const mllp_server_config *config)
{
    const mllp_server_events events = { .frame = on_frame };
    err_info why = { 0 };
    int code = EXIT_WELL;

    if (uv_loop_init(&l->loop) < 0) die("uv_loop_init");
    if (mllp_server_open(&l->loop, config, &events, l, &l->server, &why) == ERR_OK) {
        fprintf(stderr, "interop listen: listening on %s:%u\n", config->address, mllp_server_port(l->server));
        l->interrupt.data = l->terminate.data = l;
        if (uv_signal_init(&l->loop, &l->interrupt) < 0 || uv_signal_init(&l->loop, &l->terminate) < 0
            || uv_signal_start(&l->interrupt, on_signal, SIGINT) < 0
            || uv_signal_start(&l->terminate, on_signal, SIGTERM) < 0) die("uv_signal");
    } else {
        code = cli_fail(&cli_listen, &why);
    }
    (void)uv_run(&l->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&l->loop) < 0) die("interop listen: a handle was left open");
    arena_free(&l->mem);
    return code == EXIT_WELL && l->failed ? EXIT_FINDINGS : code;
}

static int listen_run(int argc, char **argv)
{
    const char *word, *code = "AA", *count = NULL, *delay = NULL;
    int word_count, result;
    int64_t port = -1, most = 0, wait = 0;
    tls_config with = { 0 };
    err_info why = { 0 };
    listener l = { 0 };
    mllp_server_config config = {
        .address = "127.0.0.1", .frame_cap = FRAME_CAP, .frame_ms = FRAME_MS, .max_connections = 65536,
        .max_in_flight = 1000
    };
    const cli_option options[] = {
        { .name = "--code", .value = &code }, { .name = "--out", .value = &l.out },
        { .name = "--count", .value = &count }, { .name = "--delay", .value = &delay },
        { .name = "--address", .value = &config.address },
        { .name = "--tls-cert", .value = &with.certificate }, { .name = "--tls-key", .value = &with.key },
        { .name = "--tls-ca", .value = &with.ca },
    };

    if (!cli_parse_options(&cli_listen, argc, argv, options, countof(options), &word, 1, &word_count)
        || !read_number("--count", count, INT64_MAX, &most) || !read_number("--delay", delay, 86400000, &wait))
        return EXIT_USAGE;
    if (word_count == 0 || !slice_int(slice_of(word), &port) || port < 0 || port > 65535)
        return cli_usage(&cli_listen, "say on which PORT, from 0 (any free one) to 65535");
    if (!read_code(code, &l.code)) return cli_usage(&cli_listen, "--code is AA, AE, AR, CA, CE or CR");
    if ((with.certificate == NULL) != (with.key == NULL) || (with.ca != NULL && with.key == NULL))
        return cli_usage(&cli_listen, "--tls-cert and --tls-key go together, and --tls-ca with them");
    if (l.out != NULL && mkdir(l.out, 0777) < 0 && errno != EEXIST) {
        (void)err_set(&why, ERR_IO, "cannot make the folder %s: %s", l.out, strerror(errno));
        return cli_fail(&cli_listen, &why);
    }
    with.require_peer = with.ca != NULL;
    if (with.key != NULL && tls_server_context(&with, &config.tls, &why) != ERR_OK) return cli_fail(&cli_listen, &why);
    l.count = (size_t)most;
    l.delay_ms = (uint64_t)wait;
    config.port = (uint16_t)port;
    result = serve(&l, &config);
    tls_context_drop(config.tls);
    return result;
}

const cli_command cli_listen = {
    "listen", "PORT [options]", "A test listener: acknowledges every message and prints a JSON line for it.", listen_run,
    "  --code CODE       AA (standard), AE, AR, CA, CE or CR\n"
    "  --out DIR         write each message's exact bytes to DIR/000001.hl7 and so on\n"
    "  --count N         end after N messages\n"
    "  --delay MS        wait before each answer\n"
    "  --address IP      where to listen (127.0.0.1)\n"
    "  --tls-cert FILE --tls-key FILE   speak TLS; --tls-ca FILE demands client certificates\n"
};

/* cli/cli_send.c -- `interop send`: an MLLP client that counts and times its answers.
 *
 * The messages of the files make one run of `count` jobs, numbered from 0. Each
 * lane (a connection) takes the next job, or one that came back from a lost
 * connection, and has at most --in-flight of them out. An answer belongs to the
 * job whose MSH-10 stands in its MSA-2, never simply to the next one.
 *
 *   CONNECTING --open--> OPEN --lost, late--> WAITING --a moment--> CONNECTING
 *        `------------------`------ nothing left to do: DONE
 *
 * When an answer is late the connection is closed, so that it cannot be taken for
 * another's. What was out then has no answer; with --resend it is sent again. */
#include <stdlib.h>

#include "base/clock.h"
#include "base/ulid.h"
#include "cli/cli.h"
#include "hl7/ack.h"
#include "hl7/batch.h"
#include "hl7/text.h"
#include "net/mllp.h"
#include "net/stream.h"

#define FILES_MAX 4096
#define LANES_MAX 20000
#define IN_FLIGHT_MAX 1000
#define ANSWER_CAP ((size_t)1 << 20)
#define WRITE_CAP ((size_t)1 << 20)      /* waiting for one receiver to read */
#define RETRY_MS 100
#define CLOSE_MS 1000
#define STEPS 128                        /* of the histogram; 64 for each power of two */

typedef struct source {
    const char *file;
    size_t      number;                  /* in the file, from 1 */
    slice       bytes;
    slice       control_id;              /* within `bytes`; empty when none */
    bool        silent;                  /* MSH-15 and MSH-16 want no answer */
} source;

typedef struct job { size_t number; uint64_t sent_ns; } job;

typedef enum lane_state { LANE_CONNECTING, LANE_OPEN, LANE_WAITING, LANE_DONE } lane_state;

typedef struct sender sender;

typedef struct lane {
    sender    *of;
    lane_state state;
    stream    *stream;                   /* NULL in WAITING and DONE */
    mllp_codec codec;
    job       *out;                      /* in the order they were sent */
    size_t     out_count;
    uint64_t   again_ms;                 /* WAITING: when to connect */
    bool       was_open, late;
} lane;

struct sender {
    uv_loop_t    loop;
    uv_timer_t   tick;                   /* rate, deadlines, reconnecting */
    const cli_command *cmd;
    arena        mem, answer_mem;
    source      *sources;
    size_t       source_count, source_room;
    const char  *host;
    uint16_t     port;
    tls_context *tls;
    int64_t      lane_count, rate, in_flight, timeout_ms;
    size_t       count, next;            /* jobs of the run; not yet taken */
    bool         vary, json, resend, complained;
    char         prefix[ULID_LEN + 1];   /* of varied ids */
    lane        *lanes;
    size_t      *again, again_count;     /* jobs that came back, ascending */
    size_t       sent, positive, negative, unanswered, unasked, unexpected, resent;
    uint64_t     began_ns, ended_ns, worst_ns;
    size_t       histogram[64 * STEPS];
};

static void lane_enter(lane *l, lane_state next);

/* ---- what is sent ------------------------------------------------------------ */

static err load_file(sender *s, const char *path, err_info *why)
{
    slice bytes = SLICE_NONE, message, stray;
    size_t offset, before = s->source_count;
    hl7_batch batch;
    hl7_head head;
    err e = cli_read_file(&s->mem, path, &bytes, why);

    if (e != ERR_OK) return e;
    hl7_batch_open(&batch, bytes);
    while (hl7_batch_next(&batch, &message, &offset, &stray)) {
        if (s->source_count == s->source_room) {
            s->source_room = s->source_room == 0 ? 64 : s->source_room * 2;
            s->sources = mem_realloc(s->sources, s->source_room * sizeof *s->sources);
        }
        source *m = &s->sources[s->source_count++];
        *m = (source){ .file = path, .number = s->source_count - before, .bytes = message };
        if (hl7_head_guess(message, &head)) {
            m->control_id = head.control_id;
            m->silent = head.accept_ack.len > 0 && !hl7_ack_wanted(head.accept_ack, true)
                && !hl7_ack_wanted(head.application_ack, true);
        }
    }
    if (s->source_count == before) return err_set(why, ERR_USAGE, "%s holds no message (no line begins with MSH)", path);
    return ERR_OK;
}

static const source *source_of(const sender *s, size_t number) { return &s->sources[number % s->source_count]; }

/* A message without any MSH-10 stays as it is. */
static bool is_varied(const sender *s, const source *m) { return s->vary && m->control_id.ptr != NULL; }

/* The MSH-10 that job `number` goes out with. */
static slice control_id_of(const sender *s, size_t number, char room[48])
{
    const source *m = source_of(s, number);

    if (!is_varied(s, m)) return m->control_id;
    int n = snprintf(room, 48, "%s%zu", s->prefix, number + 1);
    return (slice){ room, (size_t)n };
}

static void put_message(const sender *s, size_t number, buf *out)
{
    const source *m = source_of(s, number);
    char room[48];

    if (!is_varied(s, m)) { buf_put(out, m->bytes); return; }
    size_t at = (size_t)(m->control_id.ptr - m->bytes.ptr);
    buf_put(out, (slice){ m->bytes.ptr, at });
    buf_put(out, control_id_of(s, number, room));
    buf_put(out, slice_from(m->bytes, at + m->control_id.len));
}

/* ---- accounts ---------------------------------------------------------------- */

static void note_latency(sender *s, uint64_t ns)
{
    uint64_t us = ns / 1000;
    unsigned shift = us < STEPS ? 0 : 57 - (unsigned)__builtin_clzll(us);        /* keeps 7 bits */

    s->histogram[shift * STEPS + (us >> shift)]++;
    if (ns > s->worst_ns) s->worst_ns = ns;
}

/* Milliseconds that `share` of the answers took at most, within 2 %. */
static double latency_at(const sender *s, double share)
{
    size_t total = s->positive + s->negative, passed = 0;

    for (size_t i = 0; i < countof(s->histogram); i++) {
        uint64_t most_ns = (((uint64_t)(i % STEPS) + 1) << (i / STEPS)) * 1000;
        passed += s->histogram[i];
        if (passed > 0 && (double)passed >= share * (double)total)
            return (double)(most_ns < s->worst_ns ? most_ns : s->worst_ns) / 1e6;
    }
    return 0;
}

static size_t settled(const sender *s) { return s->positive + s->negative + s->unanswered + s->unasked; }

/* ---- answers ----------------------------------------------------------------- */

static const char *const why_paths[] = { "ERR-8", "ERR-7", "MSA-3", "ERR-3.2", "ERR-1.4.2" };

/* The receiver's words: ERR and MSA-3 and nothing else of the answer. */
static void read_reason(arena *mem, slice answer, slice *error, slice *text)
{
    hl7_path path;
    hl7_msg *m;

    *error = *text = slice_lit("");
    if (hl7_parse(mem, answer, &m, NULL) != ERR_OK) return;
    if (hl7_path_parse(slice_lit("ERR-3.1"), &path, NULL) == ERR_OK) *error = hl7_get(m, &path);
    for (size_t i = 0; i < countof(why_paths) && text->len == 0; i++)
        if (hl7_path_parse(slice_of(why_paths[i]), &path, NULL) == ERR_OK) *text = hl7_unescape(mem, m, hl7_get(m, &path));
}

static void print_negative(sender *s, size_t number, const char *code, slice answer)
{
    const source *m = source_of(s, number);
    slice error, text;
    buf line = buf_in(&s->answer_mem);

    read_reason(&s->answer_mem, answer, &error, &text);
    if (s->json) {
        buf_puts(&line, "{\"file\":");
        buf_json(&line, slice_of(m->file));
        buf_printf(&line, ",\"message\":%zu,\"code\":\"%s\",\"error\":", m->number, code);
        buf_json(&line, error);
        buf_puts(&line, ",\"text\":");
        buf_json(&line, text);
        buf_puts(&line, "}\n");
    } else {
        buf_printf(&line, "%s message %zu: %s", m->file, m->number, code);
        if (error.len > 0) buf_printf(&line, " %.*s", (int)error.len, error.ptr);
        if (text.len > 0) buf_printf(&line, " %.*s", (int)text.len, text.ptr);
        for (size_t i = 0; i < line.len; i++)            /* a terminal must not obey it */
            if ((unsigned char)line.ptr[i] < ' ') line.ptr[i] = '?';
        buf_putc(&line, '\n');
    }
    (void)fwrite(line.ptr, 1, line.len, stdout);
}

static void take_out(lane *l, size_t at)
{
    l->out_count--;
    memmove(&l->out[at], &l->out[at + 1], (l->out_count - at) * sizeof *l->out);
}

/* Which job an answer is for; an empty MSA-2 (the receiver could not read the
 * message's MSH-10) means the oldest. */
static size_t find_job(const lane *l, slice about_id)
{
    char room[48];

    if (about_id.len == 0) return 0;
    for (size_t i = 0; i < l->out_count; i++)
        if (slice_eq(control_id_of(l->of, l->out[i].number, room), about_id)) return i;
    return SIZE_MAX;
}

static void on_answer(void *arg, mllp_flaw flaw, slice bytes)
{
    lane *l = arg;
    sender *s = l->of;
    hl7_ack_code code = HL7_AR;
    slice about = SLICE_NONE;
    size_t at = SIZE_MAX;

    arena_reset(&s->answer_mem);
    if (flaw == MLLP_GOOD && hl7_ack_read(&s->answer_mem, bytes, &code, &about, NULL) == ERR_OK) at = find_job(l, about);
    if (at >= l->out_count) { s->unexpected++; return; }
    note_latency(s, clock_ns() - l->out[at].sent_ns);
    if (code == HL7_AA || code == HL7_CA) {
        s->positive++;
    } else {
        s->negative++;
        print_negative(s, l->out[at].number, hl7_ack_code_text(code), bytes);
    }
    take_out(l, at);
}

/* ---- lanes ------------------------------------------------------------------- */

static bool work_left(const sender *s) { return s->next < s->count || s->again_count > 0; }

/* The rate counts from the start: a stall is caught up. */
static bool rate_allows(const sender *s)
{
    double seconds = (double)(clock_ns() - s->began_ns) / 1e9;
    return s->rate == 0 || s->again_count > 0 || (double)s->next <= seconds * (double)s->rate;
}

static size_t next_job(sender *s)
{
    if (s->again_count == 0) return s->next++;
    size_t first = s->again[0];
    memmove(s->again, s->again + 1, --s->again_count * sizeof *s->again);
    s->resent++;
    return first;
}

/* Back to those that wait, in the order of their numbers. */
static void give_back(sender *s, size_t number)
{
    size_t at = s->again_count++;

    for (; at > 0 && s->again[at - 1] > number; at--) s->again[at] = s->again[at - 1];
    s->again[at] = number;
}

/* Sends what may go out now, in one write. */
static void lane_pump(lane *l)
{
    sender *s = l->of;
    buf message = buf_in(NULL), wire = buf_in(NULL);

    while (l->state == LANE_OPEN && l->out_count < (size_t)s->in_flight && work_left(s) && rate_allows(s)
           && stream_pending(l->stream) + wire.len < WRITE_CAP) {
        size_t number = next_job(s);
        buf_clear(&message);
        put_message(s, number, &message);
        mllp_write(&wire, buf_slice(&message));
        if (source_of(s, number)->silent) s->unasked++;
        else l->out[l->out_count++] = (job){ number, clock_ns() };
        if (number + 1 > s->sent) s->sent = number + 1;
    }
    if (wire.len > 0) stream_write(l->stream, buf_slice(&wire));
    buf_free(&message);
    buf_free(&wire);
    if (l->state == LANE_OPEN && l->out_count == 0 && !work_left(s)) lane_enter(l, LANE_DONE);
}

static void finish_when_settled(sender *s)
{
    bool alive = false;

    for (int64_t i = 0; i < s->lane_count; i++) alive |= s->lanes[i].state != LANE_DONE;
    if (alive && settled(s) < s->count) return;
    if (uv_is_closing((uv_handle_t *)&s->tick)) return;
    s->ended_ns = clock_ns();
    for (int64_t i = 0; i < s->lane_count; i++) lane_enter(&s->lanes[i], LANE_DONE);
    uv_close((uv_handle_t *)&s->tick, NULL);
}

static void on_open(void *arg)
{
    lane *l = arg;
    lane_enter(l, LANE_OPEN);
    lane_pump(l);
    finish_when_settled(l->of);
}

static void on_data(void *arg, slice bytes)
{
    lane *l = arg;
    mllp_codec_feed(&l->codec, bytes, on_answer, l);
    lane_pump(l);
    finish_when_settled(l->of);
}

static void on_drained(void *arg) { lane_pump(arg); }

/* Once a run: the others mostly say the same. */
static void complain(const lane *l, err e, const err_info *why)
{
    sender *s = l->of;
    const char *then = s->resend ? " (trying again)" : "";

    if (s->complained || (e == ERR_OK && l->out_count == 0)) return;
    s->complained = true;
    if (l->late) fprintf(stderr, "interop send: no answer within %lld ms%s\n", (long long)s->timeout_ms, then);
    else if (e == ERR_OK) fprintf(stderr, "interop send: %s:%u closed the connection without an answer%s\n", s->host, s->port, then);
    else fprintf(stderr, "interop send: %s%s\n", why->text, then);
}

static void on_closed(void *arg, err e, const err_info *why)
{
    lane *l = arg;
    sender *s = l->of;
    bool was_open = l->was_open;

    l->stream = NULL;
    mllp_codec_free(&l->codec);
    if (l->state == LANE_DONE) return;
    complain(l, e, why);
    for (size_t i = 0; i < l->out_count; i++) {
        if (s->resend) give_back(s, l->out[i].number);
        else s->unanswered++;
    }
    l->out_count = 0;
    l->was_open = l->late = false;
    lane_enter(l, was_open || s->resend ? LANE_WAITING : LANE_DONE);
    finish_when_settled(s);
}

static const stream_events lane_events = {
    .open = on_open, .data = on_data, .drained = on_drained, .closed = on_closed
};

static void lane_enter(lane *l, lane_state next)
{
    sender *s = l->of;

    if (l->state == LANE_DONE) return;
    l->state = next;
    switch (next) {
    case LANE_CONNECTING:
        mllp_codec_init(&l->codec, ANSWER_CAP);
        l->stream = stream_connect(&s->loop, s->host, s->port, s->tls, (uint64_t)s->timeout_ms, &lane_events, l);
        return;
    case LANE_OPEN:
        l->was_open = true;
        return;
    case LANE_WAITING:
        l->again_ms = uv_now(&s->loop) + RETRY_MS;
        return;
    case LANE_DONE:
        if (l->stream != NULL) stream_close(l->stream, CLOSE_MS);
        return;
    }
}

/* Each millisecond with a rate, else less often. */
static void on_tick(uv_timer_t *t)
{
    sender *s = container_of(t, sender, tick);
    uint64_t now_ns = clock_ns();

    for (int64_t i = 0; i < s->lane_count; i++) {
        lane *l = &s->lanes[i];
        if (l->state == LANE_OPEN && !l->late && l->out_count > 0
            && now_ns - l->out[0].sent_ns > (uint64_t)s->timeout_ms * 1000000) {
            l->late = true;
            stream_close(l->stream, 0);
        } else if (l->state == LANE_OPEN && !l->late) {
            lane_pump(l);
        } else if (l->state == LANE_WAITING && uv_now(&s->loop) >= l->again_ms) {
            lane_enter(l, work_left(s) ? LANE_CONNECTING : LANE_WAITING);
        }
    }
    finish_when_settled(s);
}

/* ---- the command ------------------------------------------------------------- */

static void print_summary(const sender *s)
{
    double seconds = (double)(s->ended_ns - s->began_ns) / 1e9;
    double rate = seconds > 0 ? (double)(s->positive + s->negative) / seconds : 0;
    double p50 = latency_at(s, 0.5), p90 = latency_at(s, 0.9), p99 = latency_at(s, 0.99), max = (double)s->worst_ns / 1e6;

    if (s->json)
        printf("{\"sent\":%zu,\"positive\":%zu,\"negative\":%zu,\"noAnswer\":%zu,\"notAsked\":%zu,\"notSent\":%zu,"
               "\"unexpected\":%zu,\"resent\":%zu,\"seconds\":%.3f,\"perSecond\":%.1f,"
               "\"p50Ms\":%.3f,\"p90Ms\":%.3f,\"p99Ms\":%.3f,\"maxMs\":%.3f}\n",
               s->sent, s->positive, s->negative, s->unanswered, s->unasked, s->count - s->sent,
               s->unexpected, s->resent, seconds, rate, p50, p90, p99, max);
    else {
        printf("sent %zu: %zu positive, %zu negative, %zu without an answer", s->sent, s->positive, s->negative, s->unanswered);
        if (s->unasked > 0) printf(", %zu that asked for none", s->unasked);
        if (s->count > s->sent) printf("; %zu not sent", s->count - s->sent);
        if (s->resent > 0) printf("; %zu sent again", s->resent);
        if (s->unexpected > 0) printf("; %zu answers that belong to nothing sent", s->unexpected);
        printf("\n%.1f messages/s; answer after p50 %.2f, p90 %.2f, p99 %.2f, at most %.2f ms\n", rate, p50, p90, p99, max);
    }
}

/* "HOST:PORT", "[::1]:PORT". The host is kept in `mem`. */
static bool read_address(arena *mem, const char *text, const char **host, uint16_t *port)
{
    slice whole = slice_of(text);
    const char *colon = strrchr(text, ':');
    int64_t number;

    if (colon == NULL || colon == text || !slice_int(slice_of(colon + 1), &number) || number < 1 || number > 65535)
        return false;
    whole.len = (size_t)(colon - text);
    if (whole.ptr[0] == '[' && whole.ptr[whole.len - 1] == ']') whole = (slice){ whole.ptr + 1, whole.len - 2 };
    *host = arena_cstr(mem, whole);
    *port = (uint16_t)number;
    return true;
}

static bool read_number(const cli_command *cmd, const char *name, const char *text, int64_t least, int64_t most,
                        int64_t *out)
{
    if (text == NULL || (slice_int(slice_of(text), out) && *out >= least && *out <= most)) return true;
    (void)cli_usage(cmd, "%s is a number from %lld to %lld", name, (long long)least, (long long)most);
    return false;
}

static void run(sender *s)
{
    if ((size_t)s->lane_count > s->count) s->lane_count = (int64_t)s->count;
    s->lanes = mem_zalloc((size_t)s->lane_count * sizeof *s->lanes);
    s->again = mem_alloc((size_t)(s->lane_count * s->in_flight) * sizeof *s->again);
    if (uv_loop_init(&s->loop) < 0 || uv_timer_init(&s->loop, &s->tick) < 0) die("uv_loop_init");
    uv_timer_start(&s->tick, on_tick, 1, s->rate > 0 ? 1 : 10);
    s->began_ns = clock_ns();
    for (int64_t i = 0; i < s->lane_count; i++) {
        lane *l = &s->lanes[i];
        l->of = s;
        l->out = mem_alloc((size_t)s->in_flight * sizeof *l->out);
        lane_enter(l, LANE_CONNECTING);
    }
    (void)uv_run(&s->loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&s->loop) < 0) die("interop send: a handle was left open");
    for (int64_t i = 0; i < s->lane_count; i++) free(s->lanes[i].out);
    free(s->lanes);
    free(s->again);
}

static int send_run(int argc, char **argv)
{
    const char *words[FILES_MAX], *connections = NULL, *rate = NULL, *count = NULL, *in_flight = NULL, *timeout = NULL;
    tls_config with = { 0 };
    bool use_tls = false;
    int word_count, code = EXIT_USAGE;
    int64_t total = 0;
    err e = ERR_OK;
    err_info why = { 0 };
    sender *s = mem_zalloc(sizeof *s);
    const cli_option options[] = {
        { .name = "--connections", .value = &connections }, { .name = "--rate", .value = &rate },
        { .name = "--count", .value = &count }, { .name = "--in-flight", .value = &in_flight },
        { .name = "--timeout", .value = &timeout }, { .name = "--vary", .flag = &s->vary },
        { .name = "--resend", .flag = &s->resend }, { .name = "--json", .flag = &s->json },
        { .name = "--tls", .flag = &use_tls }, { .name = "--ca", .value = &with.ca },
        { .name = "--cert", .value = &with.certificate }, { .name = "--key", .value = &with.key },
    };

    s->cmd = &cli_send;
    s->lane_count = s->in_flight = 1;
    s->timeout_ms = 30000;
    if (!cli_parse_options(s->cmd, argc, argv, options, countof(options), words, FILES_MAX, &word_count)
        || !read_number(s->cmd, "--connections", connections, 1, LANES_MAX, &s->lane_count)
        || !read_number(s->cmd, "--rate", rate, 1, 1000000, &s->rate)
        || !read_number(s->cmd, "--count", count, 1, 1000000000, &total)
        || !read_number(s->cmd, "--in-flight", in_flight, 1, IN_FLIGHT_MAX, &s->in_flight)
        || !read_number(s->cmd, "--timeout", timeout, 1, 86400000, &s->timeout_ms)) {
        code = EXIT_USAGE;
    } else if (word_count < 2 || !read_address(&s->mem, words[0], &s->host, &s->port)) {
        code = cli_usage(s->cmd, "say where to, as HOST:PORT, and which files");
    } else if ((with.certificate == NULL) != (with.key == NULL)) {
        code = cli_usage(s->cmd, "--cert and --key go together");
    } else {
        if (use_tls || with.ca != NULL || with.certificate != NULL) e = tls_client_context(&with, &s->tls, &why);
        for (int i = 1; i < word_count && e == ERR_OK; i++) e = load_file(s, words[i], &why);
        if (e == ERR_OK) {
            id unique = id_new("");
            /* The time's 10 characters: with the counter behind it still 20 at most (MSH-10 up to HL7 2.6). */
            (void)slice_cstr((slice){ unique.text, 10 }, s->prefix, sizeof s->prefix);
            s->count = total > 0 ? (size_t)total : s->source_count;
            run(s);
            print_summary(s);
            code = s->positive + s->unasked == s->count ? EXIT_WELL : EXIT_FINDINGS;
        } else {
            code = cli_fail(s->cmd, &why);
        }
    }
    tls_context_drop(s->tls);
    free(s->sources);
    arena_free(&s->mem);
    arena_free(&s->answer_mem);
    free(s);
    return code;
}

const cli_command cli_send = {
    "send", "HOST:PORT FILE… [options]", "Sends the messages of HL7 files over MLLP and counts the answers.", send_run,
    "  --connections N   side by side (1)\n"
    "  --in-flight N     messages of one connection that wait for an answer (1)\n"
    "  --count N         repeat the files until N messages were sent (each once)\n"
    "  --vary            give each message an MSH-10 of its own\n"
    "  --rate N          messages a second, over all connections\n"
    "  --timeout MS      for connecting and for each answer (30000)\n"
    "  --resend          reconnect and send again what a lost connection left without an answer\n"
    "  --tls             with --ca FILE (who signed the server), --cert FILE and --key FILE (ours)\n"
    "  --json            one JSON object for each negative answer, and for the summary\n"
    "A file of - is standard input. Exit code 0: all answered positively; 1: not; 2: wrong use.\n"
};

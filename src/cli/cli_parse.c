/* cli/cli_parse.c -- `interop parse`: HL7 v2 to JSON, and back for proof.
 *
 * Each file is cut into its messages (a file or batch may wrap them). A message
 * that is malformed is one line on standard error, and the rest go on. With
 * --roundtrip a message is rebuilt from its JSON, put back into its character
 * set and compared; what stands between messages is passed on as it is. */
#include <stdio.h>

#include "cli/cli.h"
#include "hl7/batch.h"
#include "hl7/json.h"
#include "hl7/text.h"

enum { FILES_MAX = 4096 };

typedef struct parse_run {
    const char *file;
    bool        roundtrip;
    size_t      number;                  /* of the message in its file, from 1; 0: none */
    size_t      findings;
    arena       mem;                     /* one message's */
} parse_run;

static void complain(parse_run *r, size_t byte, const char *what)
{
    if (r->number > 0)
        fprintf(stderr, "interop parse: %s: message %zu (from byte %zu): %s\n", r->file, r->number, byte + 1, what);
    else
        fprintf(stderr, "interop parse: %s: byte %zu: %s\n", r->file, byte + 1, what);
    r->findings++;
}

static void put_out(slice s) { (void)fwrite(s.ptr, 1, s.len, stdout); }

typedef struct opened {
    hl7_msg *msg;                        /* UTF-8 */
    slice    charset;                    /* MSH-18 as it was sent */
    char     repetition;
    bool     exact;
} opened;

/* UTF-16 cannot be parsed before it is decoded, other sets only by what MSH-18 says. */
static err open_message(arena *mem, slice bytes, opened *o, err_info *why)
{
    hl7_msg *raw;
    slice text;

    *o = (opened){ .repetition = '~' };
    if (hl7_parse(mem, bytes, &raw, NULL) == ERR_OK) {
        o->charset = hl7_field(raw, 0, 18);
        o->repetition = hl7_delims_of(raw)->repetition;
    }
    hl7_decode(mem, bytes, o->charset, o->repetition, &text, &o->exact);
    return hl7_parse(mem, text, &o->msg, why);
}

/* The message's bytes by way of its JSON. */
static err rebuild(arena *mem, slice json_text, slice bytes, const opened *o, slice *out, err_info *why)
{
    buf text = buf_in(mem);
    json *v;
    err e = json_parse(mem, json_text, &v, why);

    if (e == ERR_OK) e = hl7_json_rebuild(&text, v, why);
    if (e != ERR_OK) return e;
    *out = buf_slice(&text);
    if (!o->exact) hl7_encode(mem, *out, bytes, o->charset, o->repetition, out);
    return ERR_OK;
}

static void check_rebuilt(parse_run *r, slice bytes, size_t offset, slice json_text, const opened *o)
{
    err_info why = { ERR_OK, "" };
    slice again;
    size_t at = 0;

    if (rebuild(&r->mem, json_text, bytes, o, &again, &why) != ERR_OK) {
        complain(r, offset, why.text);
        return;
    }
    put_out(again);
    if (slice_eq(again, bytes)) return;
    while (at < again.len && at < bytes.len && again.ptr[at] == bytes.ptr[at]) at++;
    (void)err_set(&why, ERR_JSON, "not rebuilt to the same bytes: byte %zu of the file is the first that differs",
                  offset + at + 1);
    complain(r, offset, why.text);
}

static void parse_message(parse_run *r, slice bytes, size_t offset)
{
    buf json_text = buf_in(&r->mem);
    err_info why = { ERR_OK, "" };
    opened o;

    if (open_message(&r->mem, bytes, &o, &why) != ERR_OK) {
        complain(r, offset, why.text);
        return;
    }
    hl7_json_write(&json_text, o.msg);
    if (r->roundtrip) {
        check_rebuilt(r, bytes, offset, buf_slice(&json_text), &o);
    } else {
        put_out(buf_slice(&json_text));
        put_out(slice_lit("\n"));
    }
}

/* A UTF-16 file has no lines that the batch could cut: it is taken as one message. */
static bool is_wide(slice bytes)
{
    return bytes.len >= 4 && (slice_starts(bytes, slice_lit("\xFF\xFE")) || slice_starts(bytes, slice_lit("\xFE\xFF"))
                              || memchr(bytes.ptr, 0, 4) != NULL);
}

static void parse_file(parse_run *r, slice bytes)
{
    size_t offset = 0, done = 0;
    slice message, stray;
    hl7_batch b;

    if (is_wide(bytes)) {
        r->number = 1;
        parse_message(r, bytes, 0);
        arena_reset(&r->mem);
        return;
    }
    hl7_batch_open(&b, bytes);
    for (;;) {
        bool more = hl7_batch_next(&b, &message, &offset, &stray);
        r->number = 0;
        if (stray.ptr != NULL)
            complain(r, (size_t)(stray.ptr - bytes.ptr), "what stands here belongs to no message: no MSH segment");
        if (!more) break;
        r->number = b.messages;
        if (r->roundtrip) put_out((slice){ bytes.ptr + done, offset - done });
        parse_message(r, message, offset);
        done = offset + message.len;
        arena_reset(&r->mem);
    }
    if (r->roundtrip) put_out(slice_from(bytes, done));
    if (b.messages == 0 && stray.ptr == NULL) complain(r, 0, "the file holds no message");
    if (b.count_wrong) fprintf(stderr, "interop parse: %s: a BTS-1 differs from its batch's number of messages\n", r->file);
}

static int run_parse(int argc, char **argv)
{
    const char *words[FILES_MAX];
    bool roundtrip = false;
    const cli_option options[] = { { .name = "--roundtrip", .flag = &roundtrip } };
    int count = 0;
    parse_run r = { .findings = 0 };

    if (!cli_parse_options(&cli_parse, argc, argv, options, countof(options), words, FILES_MAX, &count))
        return EXIT_USAGE;
    if (count == 0) return cli_usage(&cli_parse, "name a file with HL7 messages, or - for standard input");
    r.roundtrip = roundtrip;
    for (int i = 0; i < count; i++) {
        arena kept = { 0 };
        err_info why;
        slice bytes;
        r.file = words[i];
        if (cli_read_file(&kept, words[i], &bytes, &why) != ERR_OK) {
            (void)cli_fail(&cli_parse, &why);
            r.findings++;
        } else {
            parse_file(&r, bytes);
        }
        arena_free(&kept);
    }
    arena_free(&r.mem);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        fprintf(stderr, "interop parse: standard output cannot be written\n");
        return EXIT_FINDINGS;
    }
    return r.findings > 0 ? EXIT_FINDINGS : EXIT_WELL;
}

const cli_command cli_parse = {
    .name = "parse",
    .arguments = "FILE… [--roundtrip]",
    .summary = "HL7 v2 to JSON, one line a message",
    .run = run_parse,
    .help = "  --roundtrip   rebuild each message from its JSON and write the same bytes back;\n"
            "                exit code 1 names the first byte that differs\n",
};

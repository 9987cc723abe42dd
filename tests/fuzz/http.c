/* tests/fuzz/http.c -- the HTTP request reader must come to the same result however
 * the bytes are cut, and keep within its caps.
 *
 * The first byte chooses the length of the pieces. */
#include <stdlib.h>

#include "net/http_server.h"
#include "net/http_server_parse.h"

#define HEADER_CAP 512
#define BODY_CAP 256
#define ODD_OVERHEAD 431                 /* looked at after each piece, so it depends on them */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct reading {
    http_parser *parser;
    http_head    head;
    buf          body, text;
    int          status;
} reading;

static void finish(reading *r)
{
    http_parser_free(r->parser);
    r->parser = NULL;
    http_head_free(&r->head);
    buf_free(&r->body);
}

static void note(reading *r)
{
    const http_head *h = &r->head;
    arena mem;
    slice rest = h->query, name, value;

    buf_printf(&r->text, "%.*s %.*s?%.*s %d\n", (int)h->method.len, h->method.ptr, (int)h->path.len, h->path.ptr,
               (int)h->query.len, h->query.ptr, h->keep_alive);
    for (size_t i = 0; i < h->header_count; i++) {
        buf_put(&r->text, h->headers[i].name);
        buf_putc(&r->text, ':');
        buf_put(&r->text, h->headers[i].value);
    }
    buf_put(&r->text, buf_slice(&r->body));
    arena_init(&mem);
    while (http_param_next(&mem, &rest, &name, &value)) buf_put(&r->text, value);
    arena_free(&mem);
}

static void feed(reading *r, slice bytes)
{
    const char *why;

    while (bytes.len > 0 && r->status == 0) {
        size_t before = bytes.len;
        if (r->parser == NULL) r->parser = http_parser_open(&r->head, &r->body, HEADER_CAP, BODY_CAP);
        switch (http_parser_feed(r->parser, &bytes)) {
        case HTTP_MORE: if (bytes.len > 0) abort(); break;
        case HTTP_BODY_FOLLOWS: if (bytes.len == before) abort(); break;
        case HTTP_WHOLE: note(r); finish(r); break;
        case HTTP_BAD:
            r->status = http_parser_problem(r->parser, &why);
            if (r->status < 400 || why == NULL) abort();
            break;
        }
        if (r->head.raw.len > HEADER_CAP + before || r->body.len > BODY_CAP) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1) return 0;
    size_t piece = (size_t)data[0] + 1;
    slice in = { (const char *)data + 1, size - 1 };
    reading whole = { .body = buf_in(NULL), .text = buf_in(NULL) }, cut = whole;

    feed(&whole, in);
    for (size_t at = 0; at < in.len; at += piece) {
        slice rest = slice_from(in, at);
        feed(&cut, (slice){ rest.ptr, rest.len < piece ? rest.len : piece });
    }
    if (whole.status != ODD_OVERHEAD && cut.status != ODD_OVERHEAD
        && (whole.status != cut.status || !slice_eq(buf_slice(&whole.text), buf_slice(&cut.text))))
        abort();
    finish(&whole);
    finish(&cut);
    buf_free(&whole.text);
    buf_free(&cut.text);
    return 0;
}

/* tests/unit/net/http_parse.c -- what is taken as an HTTP request and what is refused,
 * fed whole, at every split point and byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "net/http_server.h"
#include "net/http_server_parse.h"

#define HEADER_CAP 300
#define BODY_CAP 20
#define H "Host: a\r\n"

/* `out` is "METHOD path?query keep|close [body]" for each request, or its status. */
static const struct { const char *name, *in, *out; } cases[] = {
    { "plain", "GET /a?b=1 HTTP/1.1\r\n" H "\r\n", "GET /a?b=1 keep []" },
    { "close", "GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n", "GET /? close []" },
    { "1.0", "GET / HTTP/1.0\r\n\r\n", "GET /? close []" },
    { "1.0 keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "GET /? keep []" },
    { "body", "POST /x HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello", "POST /x? keep [hello]" },
    { "no body", "POST /x HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "POST /x? keep []" },
    { "chunked", "PUT /x HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n",
      "PUT /x? keep [abcde]" },
    { "trailer", "PUT /x HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX: y\r\n\r\n",
      "PUT /x? keep [a]" },
    { "trailers say nothing", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nContent-Length: 5\r\n\r\n"
      "GET /2 HTTP/1.1\r\n" H "\r\n", "POST /? keep [] GET /2? keep []" },
    { "pipeline", "GET /1 HTTP/1.1\r\n" H "\r\nPOST /2 HTTP/1.1\r\n" H "Content-Length: 2\r\n\r\nhiGET /3 HTTP/1.1\r\n"
      H "\r\n", "GET /1? keep [] POST /2? keep [hi] GET /3? keep []" },
    { "pipeline after chunks", "POST /1 HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
      "GET /2 HTTP/1.1\r\n" H "\r\n", "POST /1? keep [hi] GET /2? keep []" },
    { "pipeline after close", "GET /1 HTTP/1.1\r\n" H "Connection: close\r\n\r\nGET /2 HTTP/1.1\r\n" H "\r\n",
      "GET /1? close [] GET /2? keep []" },
    { "empty lines before", "\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", "GET /? keep []" },
    { "empty header", "GET / HTTP/1.1\r\nX-Empty:\r\n" H "Y: \r\n\r\n", "GET /? keep []" },
    { "absolute form", "GET http://h:80/p?q HTTP/1.1\r\n" H "\r\n", "GET /p?q keep []" },
    { "absolute form, no path", "GET http://h HTTP/1.1\r\n" H "\r\n", "GET /? keep []" },
    { "asterisk", "OPTIONS * HTTP/1.1\r\n" H "\r\n", "OPTIONS *? keep []" },
    { "upgrade passed over", "GET / HTTP/1.1\r\n" H "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
      "HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\nGET /2 HTTP/1.1\r\n" H "\r\n", "GET /? keep [] GET /2? keep []" },
    { "expect", "PUT / HTTP/1.1\r\n" H "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx", "PUT /? keep+100 [x]" },

    { "length beside chunked", "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400" },
    { "chunked beside length", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", "400" },
    { "zero length beside chunked", "POST / HTTP/1.1\r\n" H "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400" },
    { "two lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde", "400" },
    { "the same length twice", "POST / HTTP/1.1\r\n" H "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", "400" },
    { "a list of lengths", "POST / HTTP/1.1\r\n" H "Content-Length: 4, 4\r\n\r\nabcd", "400" },
    { "signed length", "POST / HTTP/1.1\r\n" H "Content-Length: +4\r\n\r\nabcd", "400" },
    { "negative length", "POST / HTTP/1.1\r\n" H "Content-Length: -4\r\n\r\nabcd", "400" },
    { "hex length", "POST / HTTP/1.1\r\n" H "Content-Length: 0x4\r\n\r\nabcd", "400" },
    { "empty length", "POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", "400" },
    { "overflowing length", "POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\n", "400" },
    { "gzip coding", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", "400" },
    { "gzip, chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400" },
    { "chunked, identity", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "400" },
    { "chunked twice", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400" },
    { "chunked and more", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunkedfoo\r\n\r\n0\r\n\r\n", "400" },
    { "tab chunked", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b" "chunked\r\n\r\n0\r\n\r\n", "400" },
    { "chunked in 1.0", "POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400" },
    { "blank before colon", "POST / HTTP/1.1\r\n" H "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400" },
    { "no Host", "GET / HTTP/1.1\r\n\r\n", "400" },
    { "two Hosts", "GET / HTTP/1.1\r\n" H "Host: b\r\n\r\n", "400" },
    { "odd Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", "400" },
    { "bare LF after the request line", "GET / HTTP/1.1\n" H "\r\n", "400" },
    { "bare LF after a header", "GET / HTTP/1.1\r\nHost: a\n\r\n", "400" },
    { "bare LF as the end", "GET / HTTP/1.1\r\n" H "\n", "400" },
    { "bare LF throughout", "GET / HTTP/1.1\nHost: a\n\n", "400" },
    { "CR CR as the end", "GET / HTTP/1.1\r\nHost: a\r\r\n", "400" },
    { "CR CR for a line end", "GET / HTTP/1.1\r\n" H "\r\rGET /2 HTTP/1.1\r\n" H "\r\n", "400" },
    { "bare CR in a value", "GET / HTTP/1.1\r\n" H "X: a\rb\r\n\r\n", "400" },
    { "folded line", "GET / HTTP/1.1\r\n" H "X: a\r\n b\r\n\r\n", "400" },
    { "blank first header", "GET / HTTP/1.1\r\n " H "\r\n", "400" },
    { "no header name", "GET / HTTP/1.1\r\n" H ": x\r\n\r\n", "400" },
    { "no colon", "GET / HTTP/1.1\r\n" H "X\r\n\r\n", "400" },
    { "control character", "GET / HTTP/1.1\r\n" H "X: a\x01\r\n\r\n", "400" },
    { "bad CRLF after a chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n", "400" },
    { "LF after a chunk", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\n0\r\n\r\n", "400" },
    { "LF after a chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n", "400" },
    { "CR and more after a chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n3\rXabc\r\n0\r\n\r\n", "400" },
    { "bad chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n", "400" },
    { "hex prefix in a chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n", "400" },
    { "overflowing chunk size", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n10000000000000001\r\na\r\n0\r\n\r\n", "400" },
    { "LF as the end of the chunks", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n\n", "400" },
    { "LF in an extension", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\nx\r\n0\r\n\r\n", "400" },
    { "LF in a trailer", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n", "400" },
    { "garbage", "\x0bMSH|^~\\&|\x1c\r\n\r\n", "400" },
    { "TLS to a clear port", "\x16\x03\x01\x02\x01\x01\x01\xfc\x03\x03\r\n\r\n", "400" },
    { "no path", "GET a HTTP/1.1\r\n" H "\r\n", "400" },
    { "a fragment", "GET /a#b HTTP/1.1\r\n" H "\r\n", "400" },
    { "asterisk of GET", "GET * HTTP/1.1\r\n" H "\r\n", "400" },
    { "high byte in the path", "GET /\xff HTTP/1.1\r\n" H "\r\n", "400" },
    { "0.9", "GET /\r\n\r\n", "505" },
    { "empty lines only", "\r\n\r\n\r\n\r\n\r\n\r\n", "400" },
    { "lower-case method", "get / HTTP/1.1\r\n" H "\r\n", "400" },
    { "2.0", "GET / HTTP/2.0\r\n" H "\r\n", "505" },
    { "HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400" },
    { "connect", "CONNECT a:1 HTTP/1.1\r\n" H "\r\n", "501" },
    { "rtsp", "DESCRIBE /a RTSP/1.0\r\n" H "\r\n", "501" },
    { "odd expect", "PUT / HTTP/1.1\r\n" H "Expect: x\r\nContent-Length: 1\r\n\r\nx", "417" },
    { "large length", "POST / HTTP/1.1\r\n" H "Content-Length: 21\r\n\r\n", "413" },
    { "large chunks", "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n8\r\n12345678\r\n8\r\n12345678\r\n"
      "8\r\n12345678\r\n0\r\n\r\n", "413" },
    { "not whole", "GET / HTTP/1.1\r\n" H, "more" },
    { "body not whole", "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhell", "more" },
};

typedef struct reading {
    http_parser *parser;
    http_head    head;
    buf          body, out;
    bool         over;
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
    buf_printf(&r->out, "%s%.*s %.*s?%.*s %s%s [%.*s]", r->out.len > 0 ? " " : "",
               (int)h->method.len, h->method.ptr, (int)h->path.len, h->path.ptr, (int)h->query.len, h->query.ptr,
               h->keep_alive ? "keep" : "close", h->expects_continue ? "+100" : "", (int)r->body.len, r->body.ptr);
}

static void feed(reading *r, slice in)
{
    char *exact = mem_alloc(in.len == 0 ? 1 : in.len);   /* overruns are found */
    slice rest = { exact, in.len };
    const char *why;

    if (in.len > 0) memcpy(exact, in.ptr, in.len);
    while (!r->over && rest.len > 0) {
        if (r->parser == NULL) r->parser = http_parser_open(&r->head, &r->body, HEADER_CAP, BODY_CAP);
        switch (http_parser_feed(r->parser, &rest)) {
        case HTTP_MORE: assert_int_equal(rest.len, 0); break;
        case HTTP_BODY_FOLLOWS: break;
        case HTTP_WHOLE: note(r); finish(r); break;
        case HTTP_BAD:
            buf_clear(&r->out);          /* what came before does not matter here */
            buf_printf(&r->out, "%d", http_parser_problem(r->parser, &why));
            assert_true(strlen(why) > 3);
            r->over = true;
            break;
        }
    }
    free(exact);
}

static void end(reading *r, size_t i, const char *how, size_t at)
{
    if (r->parser != NULL && !r->over) { buf_clear(&r->out); buf_puts(&r->out, "more"); }
    if (!slice_is(buf_slice(&r->out), cases[i].out))
        fail_msg("%s, %s %zu: got \"%.*s\", not \"%s\"", cases[i].name, how, at, (int)r->out.len, r->out.ptr, cases[i].out);
    finish(r);
    buf_free(&r->out);
}

static void each_split_gives_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(cases); i++) {
        slice in = slice_of(cases[i].in);
        for (size_t cut = 0; cut <= in.len; cut++) {
            reading r = { .body = buf_in(NULL), .out = buf_in(NULL) };
            feed(&r, (slice){ in.ptr, cut });
            feed(&r, slice_from(in, cut));
            end(&r, i, "cut at", cut);
        }
        reading r = { .body = buf_in(NULL), .out = buf_in(NULL) };
        for (size_t at = 0; at < in.len; at++) feed(&r, (slice){ in.ptr + at, 1 });
        end(&r, i, "byte by byte", 0);
    }
}

static void nul_is_refused_everywhere(void **state)
{
    static const char in[] = "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";

    (void)state;
    for (size_t at = 0; at < sizeof in - 1; at++) {
        reading r = { .body = buf_in(NULL), .out = buf_in(NULL) };
        char with[sizeof in];
        memcpy(with, in, sizeof in);
        with[at] = '\0';
        feed(&r, (slice){ with, sizeof in - 1 });
        if (!slice_is(buf_slice(&r.out), "400")) fail_msg("NUL at %zu was taken", at);
        finish(&r);
        buf_free(&r.out);
    }
}

static void sizes_are_capped(void **state)
{
    static const struct { const char *before, *again; const char *status; } endless[] = {
        { "GET /", "x", "431" },
        { "GET / HTTP/1.1\r\n", "X: y\r\n", "431" },
        { "GET / HTTP/1.1\r\nX: ", "y", "431" },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", "431" },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n1;", "x", "431" },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "0", "431" },
        { "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "413" },
    };

    (void)state;
    for (size_t i = 0; i < countof(endless); i++) {
        reading r = { .body = buf_in(NULL), .out = buf_in(NULL) };
        feed(&r, slice_of(endless[i].before));
        for (int n = 0; n < 2000 && !r.over; n++) feed(&r, slice_of(endless[i].again));
        if (!slice_is(buf_slice(&r.out), endless[i].status))
            fail_msg("%s: got \"%.*s\"", endless[i].before, (int)r.out.len, r.out.ptr);
        finish(&r);
        buf_free(&r.out);
    }
}

static void headers_are_found(void **state)
{
    reading r = { .body = buf_in(NULL), .out = buf_in(NULL) };
    slice in = slice_lit("GET / HTTP/1.1\r\nHost:  a:80 \r\nX-One: 1\r\nempty:\r\nx-one: 2\r\nAccept:\ta, b\t\r\n\r\n");

    (void)state;
    r.parser = http_parser_open(&r.head, &r.body, HEADER_CAP, BODY_CAP);
    assert_int_equal(http_parser_feed(r.parser, &in), HTTP_WHOLE);
    assert_int_equal(r.head.header_count, 5);
    assert_true(slice_is(http_head_get(&r.head, "host"), "a:80"));
    assert_true(slice_is(http_head_get(&r.head, "X-ONE"), "1"));
    assert_true(slice_is(http_head_get(&r.head, "Accept"), "a, b"));
    assert_non_null(http_head_get(&r.head, "Empty").ptr);
    assert_int_equal(http_head_get(&r.head, "Empty").len, 0);
    assert_null(http_head_get(&r.head, "X-Two").ptr);
    finish(&r);
}

static void parameters_are_decoded(void **state)
{
    arena mem;
    slice rest = slice_lit("&name=J%C3%B6rg+M&&empty=&flag&a=1%2&b=%zz&name=2&x=a=b%26"), name, value;
    buf all = buf_in(NULL);

    (void)state;
    arena_init(&mem);
    while (http_param_next(&mem, &rest, &name, &value))
        buf_printf(&all, "%.*s=%.*s;", (int)name.len, name.ptr, (int)value.len, value.ptr);
    assert_true(slice_is(buf_slice(&all), "name=J\xc3\xb6rg M;empty=;flag=;a=1%2;b=%zz;name=2;x=a=b&;"));
    assert_true(slice_is(http_param(&mem, slice_lit("a=1&b=2&b=3"), "b"), "2"));
    assert_null(http_param(&mem, slice_lit("a=1"), "b").ptr);
    assert_non_null(http_param(&mem, slice_lit("b"), "b").ptr);
    assert_true(slice_is(http_decode(&mem, slice_lit("a+b%20c%"), false), "a+b c%"));
    buf_free(&all);
    arena_free(&mem);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_split_gives_the_same),
        cmocka_unit_test(nul_is_refused_everywhere),
        cmocka_unit_test(sizes_are_capped),
        cmocka_unit_test(headers_are_found),
        cmocka_unit_test(parameters_are_decoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

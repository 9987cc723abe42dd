/* net/http_server_parse.c -- one request: the header section is collected and
 * checked byte by byte, then parsed by llhttp in one piece; the body goes through
 * llhttp as it comes.
 *
 * llhttp is compiled in its strict mode, which refuses a bad CRLF after a chunk.
 * It still takes some line ends, in headers and around chunks, that others read
 * differently, which is how requests are smuggled past a proxy. So they are
 * checked here as well: every line ends with CR LF, neither stands alone, no line
 * goes on in the next (RFC 9112, 2.2 and 5.2). */
#include "net/http_server_parse.h"

#include <llhttp.h>
#include <stdlib.h>
#include <strings.h>

#define EMPTY_LINES_BEFORE 4             /* a client's stray CR LF after a body (RFC 9112, 2.2) */

struct http_parser {
    llhttp_t    ll;
    http_head  *head;
    buf        *body;
    size_t      header_cap, body_cap;
    size_t      line_len;                /* of the line that is being read, without its CR */
    int         empty_lines;
    char        before;                  /* the last byte that was no data */
    bool        header_open;             /* its value has not ended */
    bool        in_body, whole;
    uint64_t    wire_len;                /* of the body, chunk sizes and trailers too */
    const char *framing;                 /* of the piece being fed: checked up to here */
    slice       target;
    int         status;
    const char *why;
};

void http_head_free(http_head *h)
{
    buf_free(&h->raw);
    free(h->headers);
    *h = (http_head){ 0 };
}

static bool name_is(slice name, const char *want)
{
    return name.len == strlen(want) && strncasecmp(name.ptr, want, name.len) == 0;
}

slice http_head_get(const http_head *h, const char *name)
{
    for (size_t i = 0; i < h->header_count; i++)
        if (name_is(h->headers[i].name, name)) return h->headers[i].value;
    return SLICE_NONE;
}

static http_parser *of(llhttp_t *ll) { return container_of(ll, http_parser, ll); }

static int refuse(http_parser *p, int status, const char *why)
{
    p->status = status;
    p->why = why;
    return -1;
}

/* Header lines, chunk sizes and trailers all end with CR LF. NULL: all is well. */
static const char *odd_line_end(char before, char c)
{
    if (c == '\0') return "a NUL where text belongs";
    if (c == '\n' && before != '\r') return "a line that ends with LF alone";
    if (c != '\n' && before == '\r') return "a CR without LF";
    return NULL;
}

/* What stands around the chunks: the bytes up to `end` that are no data. */
static int check_framing(http_parser *p, const char *end)
{
    for (; p->framing < end; p->framing++) {
        const char *why = odd_line_end(p->before, *p->framing);
        if (why != NULL) return refuse(p, 400, why);
        p->before = *p->framing;
    }
    return 0;
}

/* ---- what llhttp finds ----------------------------------------------------- */

/* A span may come in pieces, but always of one run of bytes. */
static void extend(slice *s, const char *at, size_t len)
{
    if (s->ptr == NULL) s->ptr = at;
    s->len = (size_t)(at + len - s->ptr);
}

static int on_url(llhttp_t *ll, const char *at, size_t len)
{
    extend(&of(ll)->target, at, len);
    return 0;
}

static http_field *open_header(http_head *h)
{
    if (h->header_count == h->header_room) {
        h->header_room = h->header_room == 0 ? 16 : h->header_room * 2;
        h->headers = mem_realloc(h->headers, h->header_room * sizeof *h->headers);
    }
    return &h->headers[h->header_count];
}

static int on_header_field(llhttp_t *ll, const char *at, size_t len)
{
    http_parser *p = of(ll);

    if (p->in_body) return 0;            /* trailers are read over */
    http_field *h = open_header(p->head);
    if (!p->header_open) *h = (http_field){ SLICE_NONE, SLICE_NONE };
    p->header_open = true;
    extend(&h->name, at, len);
    return 0;
}

static int on_header_value(llhttp_t *ll, const char *at, size_t len)
{
    http_parser *p = of(ll);

    if (p->in_body) return 0;
    if (!p->header_open) return refuse(p, 400, "a header without a name");
    extend(&p->head->headers[p->head->header_count].value, at, len);
    return 0;
}

static int on_header_value_complete(llhttp_t *ll)
{
    http_parser *p = of(ll);

    if (p->in_body) return 0;
    if (!p->header_open || p->head->headers[p->head->header_count].name.len == 0)
        return refuse(p, 400, "a header without a name");
    http_field *h = &p->head->headers[p->head->header_count++];
    h->value = h->value.ptr == NULL ? slice_lit("") : slice_trim(h->value);
    p->header_open = false;
    return 0;
}

/* Origin form, absolute form (RFC 9112, 3.2.2) and `*` of OPTIONS. */
static bool read_target(http_parser *p, slice target)
{
    if (slice_starts(target, slice_lit("http://")) || slice_starts(target, slice_lit("https://"))) {
        const char *slashes = memchr(target.ptr, '/', target.len);
        slice rest = slice_from(target, (size_t)(slashes + 2 - target.ptr));
        size_t authority = 0;
        while (authority < rest.len && rest.ptr[authority] != '/' && rest.ptr[authority] != '?') authority++;
        if (authority == 0) return false;
        target = slice_from(rest, authority);
        if (target.len == 0) target = slice_lit("/");
    } else if (!slice_starts(target, slice_lit("/"))
               && !(slice_is(target, "*") && slice_is(p->head->method, "OPTIONS"))) {
        return false;
    }
    if (memchr(target.ptr, '#', target.len) != NULL) return false;
    p->head->path = slice_cut(target, '?', &p->head->query);
    return true;
}

static bool host_is_well_formed(slice host)
{
    for (size_t i = 0; i < host.len; i++) {
        unsigned char c = (unsigned char)host.ptr[i];
        if (c <= ' ' || c >= 0x7f || strchr("/\\?#@,\"<>^`{|}", c) != NULL) return false;
    }
    return true;
}

/* What llhttp leaves open, and what it would only find later. */
static int check_head(http_parser *p)
{
    http_head *h = p->head;
    unsigned hosts = 0, lengths = 0, codings = 0;

    for (size_t i = 0; i < h->header_count; i++) {
        const http_field *at = &h->headers[i];
        if (name_is(at->name, "host")) {
            if (++hosts > 1) return refuse(p, 400, "more than one Host");
            if (!host_is_well_formed(at->value)) return refuse(p, 400, "a Host that is no host name");
        } else if (name_is(at->name, "content-length")) {
            if (++lengths > 1) return refuse(p, 400, "more than one Content-Length");
        } else if (name_is(at->name, "transfer-encoding")) {
            if (++codings > 1 || !name_is(at->value, "chunked"))
                return refuse(p, 400, "a Transfer-Encoding other than chunked");
        } else if (name_is(at->name, "expect")) {
            if (!name_is(at->value, "100-continue")) return refuse(p, 417, "an Expect other than 100-continue");
            h->expects_continue = !h->old;
        }
    }
    if (hosts == 0 && !h->old) return refuse(p, 400, "no Host");
    if (lengths > 0 && codings > 0) return refuse(p, 400, "Content-Length beside Transfer-Encoding");
    if (codings > 0 && h->old) return refuse(p, 400, "Transfer-Encoding in HTTP/1.0");
    return 0;
}

static int on_headers_complete(llhttp_t *ll)
{
    http_parser *p = of(ll);
    llhttp_method_t method = (llhttp_method_t)llhttp_get_method(ll);

    if (llhttp_get_http_major(ll) != 1) return refuse(p, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (method == HTTP_CONNECT || method > HTTP_SOURCE) return refuse(p, 501, "this method is not served");
    p->head->method = slice_of(llhttp_method_name(method));
    p->head->old = llhttp_get_http_minor(ll) == 0;
    p->head->keep_alive = llhttp_should_keep_alive(ll) == 1;
    if (!read_target(p, p->target)) return refuse(p, 400, "a request target that is no path");
    if (check_head(p) != 0) return -1;
    if (ll->content_length > p->body_cap) return refuse(p, 413, "the body is too large");
    ll->upgrade = 0;                     /* an offer of HTTP/2 or the like is passed over (RFC 9110, 7.8) */
    p->in_body = true;
    return 0;
}

static int on_body(llhttp_t *ll, const char *at, size_t len)
{
    http_parser *p = of(ll);

    if (check_framing(p, at) != 0) return -1;
    p->framing = at + len;
    if (len > p->body_cap - p->body->len) return refuse(p, 413, "the body is too large");
    buf_put(p->body, (slice){ at, len });
    return 0;
}

static int on_message_complete(llhttp_t *ll)
{
    of(ll)->whole = true;
    return HPE_PAUSED;                   /* what follows is another request's */
}

/* ---- feeding --------------------------------------------------------------- */

static const llhttp_settings_t settings = {
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_header_value_complete = on_header_value_complete,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete
};

http_parser *http_parser_open(http_head *head, buf *body, size_t header_cap, size_t body_cap)
{
    http_parser *p = mem_zalloc(sizeof *p);

    llhttp_init(&p->ll, HTTP_REQUEST, &settings);
    *head = (http_head){ .raw = buf_in(NULL) };
    p->head = head;
    p->body = body;
    p->header_cap = header_cap;
    p->body_cap = body_cap;
    return p;
}

void http_parser_free(http_parser *p) { free(p); }

int http_parser_problem(const http_parser *p, const char **why)
{
    *why = p->why;
    return p->status;
}

static http_progress bad(http_parser *p, int status, const char *why)
{
    (void)refuse(p, status, why);
    return HTTP_BAD;
}

/* Runs llhttp; false when the request is refused. `*used` is what it took. */
static bool run(http_parser *p, slice bytes, size_t *used)
{
    llhttp_errno_t e = llhttp_execute(&p->ll, bytes.ptr, bytes.len);

    *used = bytes.len;
    if (e == HPE_OK) return true;
    if (e == HPE_PAUSED && p->whole) {
        *used = (size_t)(llhttp_get_error_pos(&p->ll) - bytes.ptr);
        return true;
    }
    if (p->status == 0 && e == HPE_INVALID_VERSION)
        (void)refuse(p, 505, "only HTTP/1.1 and HTTP/1.0 are spoken here");
    if (p->status == 0) {
        const char *reason = llhttp_get_error_reason(&p->ll);
        (void)refuse(p, 400, reason == NULL ? "malformed" : reason);
    }
    return false;
}

static http_progress parse_head(http_parser *p)
{
    slice raw = buf_slice(&p->head->raw);
    size_t used;

    if (!run(p, raw, &used)) return HTTP_BAD;
    if (!p->in_body || used != raw.len) return bad(p, 400, "a header section that ends early");
    return p->whole ? HTTP_WHOLE : HTTP_BODY_FOLLOWS;
}

/* Collects lines up to the empty one. */
static http_progress feed_head(http_parser *p, slice *bytes)
{
    buf *raw = &p->head->raw;

    for (size_t i = 0; i < bytes->len; i++) {
        char c = bytes->ptr[i];
        const char *why = odd_line_end(p->before, c);

        if (why != NULL) return bad(p, 400, why);
        p->before = c;
        if (c == '\n') {
            if (p->line_len > 0) { p->line_len = 0; continue; }
            if (raw->len + i > 1) {      /* more than this empty line: the section is complete */
                buf_put(raw, (slice){ bytes->ptr, i + 1 });
                *bytes = slice_from(*bytes, i + 1);
                return raw->len > p->header_cap ? bad(p, 431, "the header section is too large") : parse_head(p);
            }
            if (++p->empty_lines > EMPTY_LINES_BEFORE) return bad(p, 400, "empty lines instead of a request");
            buf_clear(raw);
            p->before = 0;
            *bytes = slice_from(*bytes, i + 1);
            return feed_head(p, bytes);
        }
        if (c == '\r') continue;
        if (p->line_len == 0 && (c == ' ' || c == '\t')) return bad(p, 400, "a line that begins with a blank");
        p->line_len++;
    }
    if (raw->len + bytes->len > p->header_cap) return bad(p, 431, "the header section is too large");
    buf_put(raw, *bytes);
    *bytes = slice_from(*bytes, bytes->len);
    return HTTP_MORE;
}

static http_progress feed_body(http_parser *p, slice *bytes)
{
    size_t used;

    p->framing = bytes->ptr;
    if (!run(p, *bytes, &used) || check_framing(p, bytes->ptr + used) != 0) return HTTP_BAD;
    *bytes = slice_from(*bytes, used);
    p->wire_len += used;
    /* Chunk extensions and trailers are read over, but not without end. */
    if (p->wire_len - p->body->len > p->header_cap + 8 * (uint64_t)p->body->len)
        return bad(p, 431, "chunks with more around them than in them");
    return p->whole ? HTTP_WHOLE : HTTP_MORE;
}

http_progress http_parser_feed(http_parser *p, slice *bytes)
{
    if (bytes->len == 0) return HTTP_MORE;
    return p->in_body ? feed_body(p, bytes) : feed_head(p, bytes);
}

/* net/http_server_reply.c -- what a handler sees of a request, and its reply: whole,
 * or in pieces (chunked; to HTTP/1.0 up to the end of the connection). */
#include "net/http_server_conn.h"

#define JOINED_CAP ((size_t)16 << 10)    /* larger bodies are not copied behind their head */

arena *http_arena(http_request *r) { return &r->mem; }
slice http_method(const http_request *r) { return r->head.method; }
slice http_path(const http_request *r) { return r->head.path; }
slice http_query(const http_request *r) { return r->head.query; }
slice http_body(const http_request *r) { return buf_slice(&r->body); }
slice http_peer(const http_request *r) { return r->peer; }
slice http_peer_name(const http_request *r) { return r->peer_name; }

slice http_header(const http_request *r, const char *name) { return http_head_get(&r->head, name); }

/* ---- the head of a reply --------------------------------------------------- */

static const char *status_text(int status)
{
    switch (status) {
    case 200: return "OK";
    case 201: return "Created";
    case 202: return "Accepted";
    case 204: return "No Content";
    case 301: return "Moved Permanently";
    case 302: return "Found";
    case 303: return "See Other";
    case 304: return "Not Modified";
    case 307: return "Temporary Redirect";
    case 308: return "Permanent Redirect";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 406: return "Not Acceptable";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 410: return "Gone";
    case 412: return "Precondition Failed";
    case 413: return "Content Too Large";
    case 415: return "Unsupported Media Type";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 428: return "Precondition Required";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default:  return "";                 /* the reason phrase may be empty (RFC 9112, 4) */
    }
}

void http_head_write(buf *out, int status, slice date, const char *content_type, int64_t length,
                     slice extra, const char *connection)
{
    (void)buf_room(out, 256 + extra.len);
    buf_puts(out, "HTTP/1.1 ");
    buf_int(out, status);
    buf_putc(out, ' ');
    buf_puts(out, status_text(status));
    buf_puts(out, "\r\n");
    buf_put(out, date);
    if (content_type != NULL) {
        buf_puts(out, "Content-Type: ");
        buf_puts(out, content_type);
        buf_puts(out, "\r\n");
    }
    if (length >= 0) {
        buf_puts(out, "Content-Length: ");
        buf_int(out, length);
        buf_puts(out, "\r\n");
    }
    buf_put(out, extra);
    if (connection != NULL) {
        buf_puts(out, "Connection: ");
        buf_puts(out, connection);
        buf_puts(out, "\r\n");
    }
    buf_puts(out, "\r\n");
}

static bool is_one_line(slice s)
{
    return s.len == 0 || (memchr(s.ptr, '\r', s.len) == NULL && memchr(s.ptr, '\n', s.len) == NULL
                          && memchr(s.ptr, '\0', s.len) == NULL);
}

void http_reply_header(http_request *r, const char *name, slice value)
{
    if (!is_one_line(value) || !is_one_line(slice_of(name))) die("http_reply_header: %s has more than one line", name);
    if (r->streaming) die("http_reply_header: %s comes after the reply began", name);
    buf_puts(&r->extra, name);
    buf_puts(&r->extra, ": ");
    buf_put(&r->extra, value);
    buf_puts(&r->extra, "\r\n");
}

/* HTTP/1.0 clients close unless told otherwise, 1.1 clients go on. */
static const char *connection_of(const http_request *r)
{
    return http_conn_is_last(r->conn) ? "close" : r->head.old ? "keep-alive" : NULL;
}

static bool has_no_body(int status) { return status == 204 || status == 304 || status < 200; }

/* ---- whole ------------------------------------------------------------------ */

void http_reply(http_request *r, int status, const char *content_type, slice body)
{
    if (r->streaming) die("http_reply: the reply has begun as a stream");
    if (!is_one_line(slice_of(content_type))) die("http_reply: a content type of more than one line");
    if (r->conn != NULL) {
        bool none = has_no_body(status);
        bool send = !none && !slice_is(r->head.method, "HEAD");
        buf out = buf_in(NULL);

        http_head_write(&out, status, http_conn_date(r->conn), none ? NULL : content_type,
                        none ? -1 : (int64_t)body.len, buf_slice(&r->extra), connection_of(r));
        if (send && body.len <= JOINED_CAP) buf_put(&out, body);
        http_conn_write(r->conn, buf_slice(&out));
        if (send && body.len > JOINED_CAP) http_conn_write(r->conn, body);
        buf_free(&out);
    }
    http_conn_replied(r);
}

/* ---- in pieces --------------------------------------------------------------- */

void http_stream_begin(http_request *r, int status, const char *content_type,
                       void (*on_room)(void *arg), void (*on_gone)(void *arg), void *arg)
{
    if (r->streaming) die("http_stream_begin: called twice");
    if (!is_one_line(slice_of(content_type))) die("http_stream_begin: a content type of more than one line");
    r->bodyless = has_no_body(status) || slice_is(r->head.method, "HEAD");
    r->chunked = !r->head.old;
    if (r->conn != NULL) {
        buf out = buf_in(NULL);

        if (r->chunked) { if (!has_no_body(status)) http_reply_header(r, "Transfer-Encoding", slice_lit("chunked")); }
        else http_conn_make_last(r->conn);
        http_head_write(&out, status, http_conn_date(r->conn), content_type, -1, buf_slice(&r->extra),
                        connection_of(r));
        http_conn_write(r->conn, buf_slice(&out));
        buf_free(&out);
    }
    r->streaming = true;
    r->on_room = on_room;
    r->on_gone = on_gone;
    r->arg = arg;
}

void http_stream_write(http_request *r, slice piece)
{
    if (!r->streaming) die("http_stream_write: the stream has not begun");
    if (r->conn == NULL || r->bodyless || piece.len == 0) return;
    if (r->chunked) {
        buf out = buf_in(NULL);

        buf_printf(&out, "%zx\r\n", piece.len);
        buf_put(&out, piece);
        buf_puts(&out, "\r\n");
        http_conn_write(r->conn, buf_slice(&out));
        buf_free(&out);
    } else {
        http_conn_write(r->conn, piece);
    }
    if (http_conn_pending(r->conn) >= HTTP_HIGH_WATER) r->full = true;
}

size_t http_stream_pending(const http_request *r)
{
    return r->conn == NULL ? 0 : http_conn_pending(r->conn);
}

void http_stream_end(http_request *r)
{
    if (!r->streaming) die("http_stream_end: the stream has not begun");
    if (r->conn != NULL && r->chunked && !r->bodyless) http_conn_write(r->conn, slice_lit("0\r\n\r\n"));
    http_conn_replied(r);
}

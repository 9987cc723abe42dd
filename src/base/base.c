/* base/base.c -- slices, errors and the allocation that never fails. */
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

int slice_cmp(slice a, slice b)
{
    size_t least = a.len < b.len ? a.len : b.len;
    int order = least == 0 ? 0 : memcmp(a.ptr, b.ptr, least);

    if (order != 0) return order;
    return a.len < b.len ? -1 : a.len > b.len;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

slice slice_trim(slice s)
{
    while (s.len > 0 && is_blank(s.ptr[0])) { s.ptr++; s.len--; }
    while (s.len > 0 && is_blank(s.ptr[s.len - 1])) s.len--;
    return s;
}

slice slice_cut(slice s, char sep, slice *rest)
{
    const char *at = s.len == 0 ? NULL : memchr(s.ptr, sep, s.len);

    if (at == NULL) {
        *rest = SLICE_NONE;
        return s;
    }
    *rest = slice_from(s, (size_t)(at - s.ptr) + 1);
    return (slice){ s.ptr, (size_t)(at - s.ptr) };
}

bool slice_int(slice s, int64_t *out)
{
    bool minus = s.len > 0 && s.ptr[0] == '-';
    uint64_t limit = minus ? (uint64_t)INT64_MAX + 1 : (uint64_t)INT64_MAX, n = 0;
    size_t i = minus ? 1 : 0;

    if (i == s.len) return false;
    for (; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') return false;
        uint64_t digit = (uint64_t)(s.ptr[i] - '0');
        if (n > (limit - digit) / 10) return false;
        n = n * 10 + digit;
    }
    *out = minus ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

char *slice_cstr(slice s, char *out, size_t cap)
{
    size_t n = s.len < cap ? s.len : cap - 1;

    if (n > 0) memcpy(out, s.ptr, n);
    out[n] = '\0';
    return out;
}

err err_set(err_info *why, err code, const char *fmt, ...)
{
    va_list args;

    if (why == NULL) return code;
    why->code = code;
    va_start(args, fmt);
    (void)vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    return code;
}

err err_prefix(err_info *why, const char *fmt, ...)
{
    char old[sizeof why->text];
    va_list args;
    int n;

    memcpy(old, why->text, sizeof old);
    va_start(args, fmt);
    n = vsnprintf(why->text, sizeof why->text, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof why->text)
        (void)snprintf(why->text + n, sizeof why->text - (size_t)n, ": %s", old);
    return why->code;
}

const char *err_name(err code)
{
    static const char *const names[] = {
        [ERR_OK] = "ok", [ERR_HL7] = "hl7", [ERR_PATH] = "path", [ERR_CHARSET] = "charset",
        [ERR_JSON] = "json", [ERR_FHIR] = "fhir", [ERR_SCRIPT] = "script",
        [ERR_BUDGET] = "budget", [ERR_REFUSED] = "refused", [ERR_CONFIG] = "config",
        [ERR_USAGE] = "usage", [ERR_LIMIT] = "limit", [ERR_IO] = "io", [ERR_NET] = "net",
        [ERR_TLS] = "tls", [ERR_TIMEOUT] = "timeout", [ERR_EXPIRED] = "expired", [ERR_STORE] = "store",
        [ERR_STORE_LOST] = "store-lost", [ERR_CONFLICT] = "conflict",
        [ERR_NOT_FOUND] = "not-found", [ERR_AUTH] = "auth", [ERR_CLOSED] = "closed",
    };
    return (size_t)code < countof(names) ? names[code] : "unknown";
}

void die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    (void)fputs("interop: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
    abort();
}

void *mem_alloc(size_t size)
{
    void *ptr = malloc(size == 0 ? 1 : size);
    if (ptr == NULL) die("out of memory (%zu bytes wanted)", size);
    return ptr;
}

void *mem_zalloc(size_t size)
{
    void *ptr = calloc(1, size == 0 ? 1 : size);
    if (ptr == NULL) die("out of memory (%zu bytes wanted)", size);
    return ptr;
}

void *mem_realloc(void *ptr, size_t size)
{
    void *grown = realloc(ptr, size == 0 ? 1 : size);
    if (grown == NULL) die("out of memory (%zu bytes wanted)", size);
    return grown;
}

char *mem_dup(slice s)
{
    char *copy = mem_alloc(s.len + 1);
    return slice_cstr(s, copy, s.len + 1);
}

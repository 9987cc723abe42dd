/* base/json.c -- a strict JSON parser into a tree, and the tree's small tools.
 *
 * UTF-8 is checked once over the whole input, so that strings need only look
 * for quotes, backslashes and control characters, eight bytes at a time. A
 * string is scanned (and refused) first; only one with an escape is copied.
 * Members are compared with those before them; from MANY_KEYS on by a hash
 * table, so that an object of a million keys costs a million steps. */
#include "base/json.h"

#include <endian.h>
#include <stdlib.h>

#include "base/hash.h"

#define MANY_KEYS 16

typedef struct parser {
    const char *at, *end, *start;
    arena      *mem;
    err_info   *why;
} parser;

/* Open addressing, at most half full; no slots until MANY_KEYS. */
typedef struct key_set {
    const json **slot;
    size_t       size;                   /* a power of two */
} key_set;

static err parse_value(parser *p, unsigned depth, json *v);

static err fail_at(const parser *p, const char *at, const char *what)
{
    return err_set(p->why, ERR_JSON, "JSON, byte %zu: %s", (size_t)(at - p->start), what);
}

static err fail(const parser *p, const char *wanted)
{
    if (p->at == p->end)
        return err_set(p->why, ERR_JSON, "JSON ends at byte %zu: %s", (size_t)(p->at - p->start), wanted);
    return fail_at(p, p->at, wanted);
}

/* ---- strings --------------------------------------------------------------- */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

/* The high bit of each byte that a string cannot hold as it is. A borrow may mark
 * bytes above the first that is marked rightly, so only the lowest counts. */
static inline uint64_t special_bytes(uint64_t word)
{
    uint64_t quote = word ^ EACH('"'), slash = word ^ EACH('\\');

    return (((quote - EACH(1)) & ~quote) | ((slash - EACH(1)) & ~slash) | ((word - EACH(0x20)) & ~word))
        & EACH(0x80);
}

static inline bool is_special(char c)
{
    return (unsigned char)c < 0x20 || c == '"' || c == '\\';
}

/* The first quote, backslash or control character from `at` on, or `end`. */
static inline const char *find_special(const char *at, const char *end)
{
    while (end - at >= 8) {
        uint64_t word, found;
        memcpy(&word, at, sizeof word);
        found = special_bytes(le64toh(word));
        if (found != 0) return at + (__builtin_ctzll(found) >> 3);
        at += 8;
    }
    while (at < end && !is_special(*at)) at++;
    return at;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* The number in the four digits of \uXXXX at `at`; -1 when they are none. */
static int32_t read_unit(const char *at, const char *end)
{
    int32_t unit = 0;

    if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0) return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

static bool is_high(int32_t unit) { return unit >= 0xd800 && unit <= 0xdbff; }
static bool is_low(int32_t unit) { return unit >= 0xdc00 && unit <= 0xdfff; }

/* The length of the escape at `at`; 0 when it is none that JSON has. */
static size_t escape_length(const char *at, const char *end)
{
    if (end - at < 2) return 0;
    if (at[1] != 'u') return at[1] != '\0' && strchr("\"\\/bfnrt", at[1]) != NULL ? 2 : 0;
    int32_t unit = read_unit(at, end);
    if (unit < 0 || is_low(unit)) return 0;
    if (!is_high(unit)) return 6;
    return is_low(read_unit(at + 6, end)) ? 12 : 0;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) { out[0] = (char)c; return 1; }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

static size_t put_escape(char *out, const char *at, const char *end)
{
    switch (at[1]) {
    case 'b': *out = '\b'; return 1;
    case 'f': *out = '\f'; return 1;
    case 'n': *out = '\n'; return 1;
    case 'r': *out = '\r'; return 1;
    case 't': *out = '\t'; return 1;
    case 'u': break;
    default: *out = at[1]; return 1;
    }
    uint32_t c = (uint32_t)read_unit(at, end);
    if (is_high((int32_t)c))
        c = 0x10000 + ((c - 0xd800) << 10) + ((uint32_t)read_unit(at + 6, end) - 0xdc00);
    return put_utf8(out, c);
}

/* `raw` was scanned; no escape is shorter than what it stands for. */
static slice decode_string(arena *mem, slice raw)
{
    const char *at = raw.ptr, *end = raw.ptr + raw.len;
    char *text = arena_alloc(mem, raw.len), *out = text;

    while (at < end) {
        const char *escape = find_special(at, end);
        memcpy(out, at, (size_t)(escape - at));
        out += escape - at;
        if (escape == end) break;
        out += put_escape(out, escape, end);
        at = escape + escape_length(escape, end);
    }
    return (slice){ text, (size_t)(out - text) };
}

/* p->at is behind the opening quote; ends behind the closing one. */
static err parse_string(parser *p, slice *out)
{
    const char *from = p->at, *at = from;
    bool escaped = false;

    for (;;) {
        at = find_special(at, p->end);
        if (at == p->end) return fail_at(p, from - 1, "this string has no end");
        if (*at == '"') break;
        if (*at != '\\') return fail_at(p, at, "a control character in a string; it must be escaped");
        size_t n = escape_length(at, p->end);
        if (n == 0) return fail_at(p, at, "not an escape that JSON has, or half of a surrogate pair");
        escaped = true;
        at += n;
    }
    *out = (slice){ from, (size_t)(at - from) };
    if (escaped) *out = decode_string(p->mem, *out);
    p->at = at + 1;
    return ERR_OK;
}

/* ---- everything else --------------------------------------------------------- */

static inline bool is_digit(char c) { return c >= '0' && c <= '9'; }

static inline char peek(const parser *p) { return p->at < p->end ? *p->at : '\0'; }

static inline void skip_blanks(parser *p)
{
    while (p->at < p->end && (*p->at == ' ' || *p->at == '\n' || *p->at == '\r' || *p->at == '\t')) p->at++;
}

static bool skip_digits(parser *p)
{
    const char *from = p->at;

    while (is_digit(peek(p))) p->at++;
    return p->at > from;
}

static err parse_number(parser *p, json *v)
{
    const char *from = p->at;

    if (peek(p) == '-') p->at++;
    if (peek(p) == '0') p->at++;
    else if (!skip_digits(p)) return fail(p, "a digit was expected");
    if (is_digit(peek(p))) return fail(p, "a number begins with a needless 0");
    if (peek(p) == '.') {
        p->at++;
        if (!skip_digits(p)) return fail(p, "a digit was expected behind the decimal point");
    }
    if (peek(p) == 'e' || peek(p) == 'E') {
        p->at++;
        if (peek(p) == '+' || peek(p) == '-') p->at++;
        if (!skip_digits(p)) return fail(p, "a digit was expected in the exponent");
    }
    v->type = JSON_NUMBER;
    v->text = (slice){ from, (size_t)(p->at - from) };
    return ERR_OK;
}

static err parse_word(parser *p, json *v, json_type type, slice word)
{
    if (!slice_starts((slice){ p->at, (size_t)(p->end - p->at) }, word))
        return fail(p, "neither true, false nor null");
    p->at += word.len;
    v->type = type;
    return ERR_OK;
}

static inline void link_child(json *parent, json *child)
{
    if (parent->last == NULL) parent->child = child;
    else parent->last->next = child;
    parent->last = child;
    parent->count++;
}

/* True, and nothing more to read, when the container closes here at once. */
static bool parse_empty(parser *p, char close)
{
    p->at++;
    skip_blanks(p);
    if (peek(p) != close) return false;
    p->at++;
    return true;
}

/* Behind a child: a comma (then *more), or the end of its container. */
static err parse_comma(parser *p, char close, bool *more)
{
    skip_blanks(p);
    *more = peek(p) == ',';
    if (!*more && peek(p) != close)
        return fail(p, close == ']' ? "a comma or ] was expected" : "a comma or } was expected");
    p->at++;
    return ERR_OK;
}

static err parse_array(parser *p, unsigned depth, json *v)
{
    bool more = true;
    err e;

    v->type = JSON_ARRAY;
    if (parse_empty(p, ']')) return ERR_OK;
    while (more) {
        json *child = arena_new(p->mem, json);
        if ((e = parse_value(p, depth, child)) != ERR_OK) return e;
        link_child(v, child);
        if ((e = parse_comma(p, ']', &more)) != ERR_OK) return e;
    }
    return ERR_OK;
}

/* The slot of `key`: the one that holds it, or the empty one where it belongs. */
static const json **key_slot(const key_set *set, slice key)
{
    size_t i = (size_t)hash_bytes(key) & (set->size - 1);

    while (set->slot[i] != NULL && !slice_eq(set->slot[i]->key, key)) i = (i + 1) & (set->size - 1);
    return &set->slot[i];
}

static void key_set_grow(key_set *set, const json *object)
{
    free(set->slot);
    set->size = set->size == 0 ? (size_t)MANY_KEYS * 4 : set->size * 2;
    set->slot = mem_zalloc(set->size * sizeof(const json *));
    for (const json *c = object->child; c != NULL; c = c->next) *key_slot(set, c->key) = c;
}

/* False when the object has this member's key already. */
static bool key_set_add(key_set *set, const json *object, const json *member)
{
    if (object->count < MANY_KEYS) {
        for (const json *c = object->child; c != NULL; c = c->next)
            if (slice_eq(c->key, member->key)) return false;
        return true;
    }
    if ((size_t)object->count * 2 >= set->size) key_set_grow(set, object);
    const json **slot = key_slot(set, member->key);
    if (*slot != NULL) return false;
    *slot = member;
    return true;
}

static err parse_members(parser *p, unsigned depth, json *v, key_set *keys)
{
    bool more = true;
    err e;

    while (more) {
        json *child = arena_new(p->mem, json);
        skip_blanks(p);
        const char *key_at = p->at;
        if (peek(p) != '"') return fail(p, "a key in quotes was expected");
        p->at++;
        if ((e = parse_string(p, &child->key)) != ERR_OK) return e;
        if (!key_set_add(keys, v, child)) return fail_at(p, key_at, "the object has this key already");
        skip_blanks(p);
        if (peek(p) != ':') return fail(p, "a colon was expected");
        p->at++;
        if ((e = parse_value(p, depth, child)) != ERR_OK) return e;
        link_child(v, child);
        if ((e = parse_comma(p, '}', &more)) != ERR_OK) return e;
    }
    return ERR_OK;
}

static err parse_object(parser *p, unsigned depth, json *v)
{
    key_set keys = { NULL, 0 };

    v->type = JSON_OBJECT;
    if (parse_empty(p, '}')) return ERR_OK;
    err e = parse_members(p, depth, v, &keys);
    free(keys.slot);
    return e;
}

static err parse_value(parser *p, unsigned depth, json *v)
{
    skip_blanks(p);
    switch (peek(p)) {
    case '"':
        p->at++;
        v->type = JSON_STRING;
        return parse_string(p, &v->text);
    case '{': case '[':
        if (depth == JSON_DEPTH) return fail(p, "nested too deeply; 64 levels are taken");
        return *p->at == '{' ? parse_object(p, depth + 1, v) : parse_array(p, depth + 1, v);
    case 't': return parse_word(p, v, JSON_TRUE, slice_lit("true"));
    case 'f': return parse_word(p, v, JSON_FALSE, slice_lit("false"));
    case 'n': return parse_word(p, v, JSON_NULL, slice_lit("null"));
    case '-': case '0': case '1': case '2': case '3': case '4':
    case '5': case '6': case '7': case '8': case '9':
        return parse_number(p, v);
    default: return fail(p, "a value was expected");
    }
}

err json_parse(arena *mem, slice text, json **out, err_info *why)
{
    json *v;
    err e;

    if (text.len == 0) return err_set(why, ERR_JSON, "no JSON: the text is empty");
    if (text.len > UINT32_MAX) return err_set(why, ERR_LIMIT, "JSON of more than 4 GiB is not taken");
    parser p = { text.ptr, text.ptr + text.len, text.ptr, mem, why };
    size_t valid = utf8_valid(text);
    if (valid < text.len) return fail_at(&p, p.start + valid, "not UTF-8");
    v = arena_new(mem, json);
    if ((e = parse_value(&p, 0, v)) != ERR_OK) return e;
    skip_blanks(&p);
    if (p.at < p.end) return fail(&p, "something follows the value");
    *out = v;
    return ERR_OK;
}

/* ---- reading ------------------------------------------------------------------ */

bool json_is(const json *v, json_type type) { return v != NULL && v->type == type; }

/* The link that leads to the member, and the member before it; NULL when absent. */
static json **find_member(json *object, slice key, json **before)
{
    *before = NULL;
    for (json **at = &object->child; *at != NULL; *before = *at, at = &(*at)->next)
        if (slice_eq((*at)->key, key)) return at;
    return NULL;
}

json *json_get(const json *v, const char *key)
{
    slice name = slice_of(key);

    if (!json_is(v, JSON_OBJECT)) return NULL;
    for (json *c = v->child; c != NULL; c = c->next)
        if (slice_eq(c->key, name)) return c;
    return NULL;
}

slice json_text(const json *v, const char *key)
{
    const json *member = json_get(v, key);
    return json_is(member, JSON_STRING) ? member->text : SLICE_NONE;
}

/* ---- building ------------------------------------------------------------------ */

json *json_new(arena *mem, json_type type)
{
    json *v = arena_new(mem, json);
    v->type = type;
    return v;
}

json *json_string(arena *mem, slice text)
{
    json *v = json_new(mem, JSON_STRING);
    v->text = text;
    return v;
}

json *json_int(arena *mem, int64_t n)
{
    buf digits = buf_in(mem);
    json *v = json_new(mem, JSON_NUMBER);

    buf_int(&digits, n);
    v->text = buf_slice(&digits);
    return v;
}

void json_push(json *array, json *child)
{
    child->key = SLICE_NONE;
    child->next = NULL;
    link_child(array, child);
}

void json_set(json *object, slice key, json *value)
{
    json *before, **at = find_member(object, key, &before);

    value->key = key;
    if (at == NULL) {
        value->next = NULL;
        link_child(object, value);
        return;
    }
    value->next = (*at)->next;
    if (object->last == *at) object->last = value;
    *at = value;
}

void json_remove(json *object, slice key)
{
    json *before, **at = find_member(object, key, &before);

    if (at == NULL) return;
    if (object->last == *at) object->last = before;
    *at = (*at)->next;
    object->count--;
}

json *json_copy(arena *mem, const json *v)
{
    json *copy = json_new(mem, v->type);

    if (v->text.ptr != NULL) copy->text = arena_dup(mem, v->text);
    for (const json *c = v->child; c != NULL; c = c->next) {
        json *child = json_copy(mem, c);
        if (c->key.ptr != NULL) child->key = arena_dup(mem, c->key);
        link_child(copy, child);
    }
    return copy;
}

/* ---- writing ------------------------------------------------------------------- */

static void write_string(buf *out, slice s)
{
    if (s.len > 0 && find_special(s.ptr, s.ptr + s.len) != s.ptr + s.len) {
        buf_json(out, s);
        return;
    }
    char *at = buf_room(out, s.len + 2);
    *at++ = '"';
    if (s.len > 0) memcpy(at, s.ptr, s.len);
    at[s.len] = '"';
    out->len += s.len + 2;
}

void json_write(buf *out, const json *v)
{
    bool object = v->type == JSON_OBJECT;

    switch (v->type) {
    case JSON_NULL: buf_put(out, slice_lit("null")); return;
    case JSON_FALSE: buf_put(out, slice_lit("false")); return;
    case JSON_TRUE: buf_put(out, slice_lit("true")); return;
    case JSON_NUMBER: buf_put(out, v->text); return;
    case JSON_STRING: write_string(out, v->text); return;
    case JSON_ARRAY: case JSON_OBJECT: break;
    }
    buf_putc(out, object ? '{' : '[');
    for (const json *c = v->child; c != NULL; c = c->next) {
        if (c != v->child) buf_putc(out, ',');
        if (object) {
            write_string(out, c->key);
            buf_putc(out, ':');
        }
        json_write(out, c);
    }
    buf_putc(out, object ? '}' : ']');
}

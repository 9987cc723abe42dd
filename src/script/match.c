/* script/match.c -- translates Lua patterns and matches them by backtracking. */
#include "script/match.h"

enum { ITEM_CHAR, ITEM_ANY, ITEM_SET, ITEM_OPEN, ITEM_POSITION, ITEM_CLOSE, ITEM_BALANCE,
       ITEM_FRONTIER, ITEM_AGAIN, ITEM_TAIL, ITEM_END };

/* ---- translating ------------------------------------------------------------------ */

static void set_range(uint32_t *set, unsigned from, unsigned to)
{
    for (unsigned c = from; c <= to; c++) set[c >> 5] |= 1u << (c & 31);
}

static bool set_has(const uint32_t *set, unsigned char c) { return (set[c >> 5] >> (c & 31) & 1) != 0; }

/* Adds the class of a letter, as the C locale has it; a capital is the rest.
 * False when the letter names none. */
static bool set_class(uint32_t *set, char letter)
{
    uint32_t own[8] = { 0 };

    switch (letter | 32) {
    case 'a': set_range(own, 'A', 'Z'); set_range(own, 'a', 'z'); break;
    case 'c': set_range(own, 0, 31); set_range(own, 127, 127); break;
    case 'd': set_range(own, '0', '9'); break;
    case 'g': set_range(own, 33, 126); break;
    case 'l': set_range(own, 'a', 'z'); break;
    case 'p':
        set_range(own, 33, 47);
        set_range(own, 58, 64);
        set_range(own, 91, 96);
        set_range(own, 123, 126);
        break;
    case 's': set_range(own, 9, 13); set_range(own, ' ', ' '); break;
    case 'u': set_range(own, 'A', 'Z'); break;
    case 'w':
        set_range(own, '0', '9');
        set_range(own, 'A', 'Z');
        set_range(own, 'a', 'z');
        break;
    case 'x':
        set_range(own, '0', '9');
        set_range(own, 'A', 'F');
        set_range(own, 'a', 'f');
        break;
    case 'z': set_range(own, 0, 0); break;           /* deprecated, and still Lua's */
    default: return false;
    }
    bool rest = (letter & 32) == 0;
    for (int i = 0; i < 8; i++) set[i] |= rest ? ~own[i] : own[i];
    return true;
}

static bool is_letter(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }

typedef struct reader {
    const char *at, *end;
    pattern    *p;
    int         open[MATCH_CAPTURES], open_count;
    bool        closed[MATCH_CAPTURES];
    const char *wrong;
} reader;

static match_item *add_item(reader *r, uint8_t kind)
{
    static match_item spare;             /* written, never read: after an error */

    if (r->p->items == MATCH_ITEMS) {
        r->wrong = "pattern too complex";
        return &spare;
    }
    match_item *item = &r->p->item[r->p->items++];
    *item = (match_item){ .kind = kind };
    return item;
}

/* A new, empty set. */
static uint32_t *add_set(reader *r, match_item *item)
{
    if (r->p->sets == MATCH_SETS) {
        r->wrong = "pattern too complex";
        return r->p->set[0];
    }
    item->a = (uint8_t)r->p->sets;
    uint32_t *set = r->p->set[r->p->sets++];
    memset(set, 0, sizeof r->p->set[0]);
    return set;
}

/* The set `found`, which the pattern may have already. */
static void use_set(reader *r, match_item *item, const uint32_t found[8])
{
    for (int i = 0; i < r->p->sets; i++) {
        if (memcmp(r->p->set[i], found, sizeof r->p->set[i]) != 0) continue;
        item->a = (uint8_t)i;
        return;
    }
    memcpy(add_set(r, item), found, sizeof r->p->set[0]);
}

/* The `]` that ends the set whose inside begins at `at`; NULL when there is none. */
static const char *set_end(const char *at, const char *end)
{
    for (bool first = true; at < end; at++, first = false) {
        if (*at == ']' && !first) return at;
        if (*at == '%' && ++at == end) return NULL;
    }
    return NULL;
}

/* r->at stands behind the `[`. */
static void read_set(reader *r, match_item *item)
{
    bool rest = r->at < r->end && *r->at == '^';
    const char *at = r->at + rest, *end = set_end(at, r->end);
    uint32_t *set = add_set(r, item);

    if (end == NULL) {
        r->wrong = "malformed pattern (missing ']')";
        return;
    }
    for (; at < end; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '%') {
            at++;
            if (!is_letter(*at) || !set_class(set, *at))
                set_range(set, (unsigned char)*at, (unsigned char)*at);
        } else if (end - at > 2 && at[1] == '-') {
            set_range(set, c, (unsigned char)at[2]);
            at += 2;
        } else {
            set_range(set, c, c);
        }
    }
    for (int i = 0; rest && i < 8; i++) set[i] = ~set[i];
    r->at = end + 1;
}

static void read_open(reader *r)
{
    int number = r->p->captures;

    if (number == MATCH_CAPTURES) {
        r->wrong = "too many captures";
        return;
    }
    r->p->captures++;
    bool position = r->at < r->end && *r->at == ')';
    add_item(r, position ? ITEM_POSITION : ITEM_OPEN)->a = (uint8_t)number;
    r->closed[number] = position;
    if (position) r->at++;
    else r->open[r->open_count++] = number;
}

static void read_close(reader *r)
{
    if (r->open_count == 0) {
        r->wrong = "invalid pattern capture";
        return;
    }
    int number = r->open[--r->open_count];
    add_item(r, ITEM_CLOSE)->a = (uint8_t)number;
    r->closed[number] = true;
}

/* What stands behind a `%`; r->at stands behind it. True when a repetition may
 * follow. */
static bool read_escape(reader *r, char c)
{
    match_item *item;

    if (c == 'b') {
        if (r->end - r->at < 2) {
            r->wrong = "missing arguments to '%b'";
            return false;
        }
        item = add_item(r, ITEM_BALANCE);
        item->a = (uint8_t)*r->at++;
        item->b = (uint8_t)*r->at++;
        return false;
    }
    if (c == 'f') {
        if (r->at == r->end || *r->at++ != '[') r->wrong = "missing '[' after '%f' in pattern";
        else read_set(r, add_item(r, ITEM_FRONTIER));
        return false;
    }
    if (c >= '0' && c <= '9') {
        int number = c - '1';
        if (number < 0 || number >= r->p->captures || !r->closed[number])
            r->wrong = "invalid capture index in pattern";
        else add_item(r, ITEM_AGAIN)->a = (uint8_t)number;
        return false;
    }
    item = add_item(r, ITEM_CHAR);
    item->a = (uint8_t)c;
    if (is_letter(c)) {
        uint32_t found[8] = { 0 };
        if (set_class(found, c)) {
            item->kind = ITEM_SET;
            use_set(r, item, found);
        }
    }
    return true;
}

static bool read_item(reader *r)
{
    char c = *r->at++;

    switch (c) {
    case '(': read_open(r); return false;
    case ')': read_close(r); return false;
    case '$':
        if (r->at < r->end) break;
        (void)add_item(r, ITEM_TAIL);
        return false;
    case '.': (void)add_item(r, ITEM_ANY); return true;
    case '[': read_set(r, add_item(r, ITEM_SET)); return true;
    case '%':
        if (r->at == r->end) {
            r->wrong = "malformed pattern (ends with '%')";
            return false;
        }
        return read_escape(r, *r->at++);
    default: break;
    }
    add_item(r, ITEM_CHAR)->a = (uint8_t)c;
    return true;
}

static bool is_repeat(char c) { return c == '*' || c == '+' || c == '-' || c == '?'; }

const char *pattern_read(slice text, bool anchors, pattern *out)
{
    reader r = { .at = text.ptr, .end = text.ptr + text.len, .p = out };

    if (text.len > MATCH_TEXT) return "pattern of more than 4096 bytes";
    out->items = out->sets = out->captures = 0;
    out->anchored = anchors && text.len > 0 && text.ptr[0] == '^';
    if (out->anchored) r.at++;
    while (r.wrong == NULL && r.at < r.end) {
        bool repeats = read_item(&r);
        if (repeats && r.wrong == NULL && r.at < r.end && is_repeat(*r.at))
            out->item[out->items - 1].repeat = (uint8_t)*r.at++;
    }
    if (r.wrong == NULL && r.open_count > 0) r.wrong = "unfinished capture";
    if (r.wrong == NULL) (void)add_item(&r, ITEM_END);
    return r.wrong;
}

/* ---- matching ----------------------------------------------------------------------- */

static const char *run(match *m, const match_item *item, const char *at) __attribute__((nonnull));

static bool steps(match *m, size_t n)
{
    if (!budget_step(m->budget, n)) return true;
    m->spent = true;
    return false;
}

static bool one(const match *m, const match_item *item, const char *at)
{
    if (at == m->subject.ptr + m->subject.len) return false;
    switch (item->kind) {
    case ITEM_ANY: return true;
    case ITEM_SET: return set_has(m->p->set[item->a], (unsigned char)*at);
    default: return item->a == (unsigned char)*at;
    }
}

static const char *run_most(match *m, const match_item *item, const char *at, size_t least)
{
    size_t n = 0;

    while (one(m, item, at + n)) n++;
    if (!steps(m, n)) return NULL;
    for (;; n--) {
        if (n < least) return NULL;
        const char *end = run(m, item + 1, at + n);
        if (end != NULL || m->spent || n == 0) return end;
    }
}

static const char *run_least(match *m, const match_item *item, const char *at)
{
    for (;; at++) {
        const char *end = run(m, item + 1, at);
        if (end != NULL || m->spent || !one(m, item, at)) return end;
    }
}

static const char *balance(match *m, const match_item *item, const char *at)
{
    const char *end = m->subject.ptr + m->subject.len;
    size_t depth = 1;

    if (at == end || (unsigned char)*at != item->a) return NULL;
    for (const char *c = at + 1; c < end; c++) {
        if ((unsigned char)*c == item->b) {
            if (--depth == 0) return steps(m, (size_t)(c - at)) ? c + 1 : NULL;
        } else if ((unsigned char)*c == item->a) {
            depth++;
        }
    }
    (void)steps(m, (size_t)(end - at));
    return NULL;
}

static bool at_frontier(const match *m, const match_item *item, const char *at)
{
    const uint32_t *set = m->p->set[item->a];
    const char *end = m->subject.ptr + m->subject.len;
    unsigned char before = at == m->subject.ptr ? 0 : (unsigned char)at[-1];
    unsigned char here = at == end ? 0 : (unsigned char)*at;

    return !set_has(set, before) && set_has(set, here);
}

/* Where a capture's text stands again; NULL if it does not, or is a position. */
static const char *again(match *m, const match_item *item, const char *at)
{
    const capture *c = &m->captures[item->a];
    size_t len = (size_t)c->len;

    if (c->len == CAPTURE_POSITION || !steps(m, len)) return NULL;
    if ((size_t)(m->subject.ptr + m->subject.len - at) < len) return NULL;
    return len == 0 || memcmp(c->start, at, len) == 0 ? at + len : NULL;
}

/* Recursion is as deep as the pattern has items: only an item that may try
 * again calls run for the rest. A capture that failed need not be undone, since
 * it is read only behind the item that sets it again. */
static const char *run(match *m, const match_item *item, const char *at)
{
    const char *end = m->subject.ptr + m->subject.len;

    for (;; item++) {
        if (!steps(m, 1)) return NULL;
        switch (item->kind) {
        case ITEM_END: return at;
        case ITEM_TAIL: return at == end ? at : NULL;
        case ITEM_OPEN: m->captures[item->a].start = at; break;
        case ITEM_CLOSE: m->captures[item->a].len = at - m->captures[item->a].start; break;
        case ITEM_POSITION: m->captures[item->a] = (capture){ at, CAPTURE_POSITION }; break;
        case ITEM_FRONTIER:
            if (!at_frontier(m, item, at)) return NULL;
            break;
        case ITEM_BALANCE:
            if ((at = balance(m, item, at)) == NULL) return NULL;
            break;
        case ITEM_AGAIN:
            if ((at = again(m, item, at)) == NULL) return NULL;
            break;
        default:
            if (item->repeat == '*') return run_most(m, item, at, 0);
            if (item->repeat == '+') return run_most(m, item, at, 1);
            if (item->repeat == '-') return run_least(m, item, at);
            if (!one(m, item, at)) {
                if (item->repeat == '?') break;
                return NULL;
            }
            if (item->repeat == '?') {
                const char *with = run(m, item + 1, at + 1);
                if (with != NULL || m->spent) return with;
                break;
            }
            at++;
        }
    }
}

const char *match_at(match *m, const char *from) { return run(m, m->p->item, from); }

/* A pattern that begins with a set, as most that look for what must be escaped do,
 * begins nowhere else. */
const char *match_skip(match *m, const char *from)
{
    const match_item *first = &m->p->item[0];
    const char *at = from, *end = m->subject.ptr + m->subject.len;

    if (first->kind != ITEM_SET || (first->repeat != 0 && first->repeat != '+')) return from;
    while (at < end && !one(m, first, at)) at++;
    (void)steps(m, (size_t)(at - from));
    return at;
}

/* base/base.h -- the small words that every folder uses: slices, errors, lists.
 *
 * Nothing here allocates, except that running out of memory anywhere in the
 * program ends it through die(): what was acknowledged is committed, so a
 * clean death is safer than a half-done step (promise P1). */
#ifndef BASE_BASE_H
#define BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define must_check __attribute__((warn_unused_result))
#define printf_like(fmt, args) __attribute__((format(printf, fmt, args)))
#define no_return __attribute__((noreturn))
#define countof(a) (sizeof(a) / sizeof((a)[0]))

/* The structure of type `type` in which `ptr` points at the member `member`. */
#define container_of(ptr, type, member) \
    ((type *)(void *)((char *)(ptr) - offsetof(type, member)))

/* ---- slices: bytes that somebody else owns ------------------------------ */

typedef struct slice {
    const char *ptr;                     /* not NUL-terminated */
    size_t      len;
} slice;

#define SLICE_NONE ((slice){ NULL, 0 })                    /* absent */
#define slice_lit(text) ((slice){ (text), sizeof(text) - 1 })   /* of a literal */

/* A slice of a NUL-terminated string; NULL gives SLICE_NONE. */
static inline slice slice_of(const char *text)
{
    return text == NULL ? SLICE_NONE : (slice){ text, strlen(text) };
}

static inline bool slice_eq(slice a, slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool slice_is(slice a, const char *text)
{
    return slice_eq(a, slice_of(text));
}

/* The part of `s` from byte `from` on; empty when `from` is past its end. */
static inline slice slice_from(slice s, size_t from)
{
    return from >= s.len ? (slice){ s.ptr == NULL ? NULL : s.ptr + s.len, 0 }
                         : (slice){ s.ptr + from, s.len - from };
}

static inline bool slice_starts(slice s, slice prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

/* Order by bytes, shorter first when one is the beginning of the other. */
int slice_cmp(slice a, slice b);

/* Without leading and trailing blanks, tabs, CR and LF. */
slice slice_trim(slice s);

/* The part before the first `sep`; `*rest` becomes what follows it, SLICE_NONE
 * when there was none. `rest` may point at `s`. */
slice slice_cut(slice s, char sep, slice *rest);

/* A decimal integer that fills the whole slice; false when it is none. */
must_check bool slice_int(slice s, int64_t *out);

/* Copies to `out` with a NUL, cut to fit; returns `out`. For messages and C APIs. */
char *slice_cstr(slice s, char *out, size_t cap);

/* ---- errors -------------------------------------------------------------- */

typedef enum err {
    ERR_OK = 0,
    ERR_HL7,            /* malformed HL7 */
    ERR_PATH,           /* a wrong HL7 path: the caller's mistake */
    ERR_CHARSET,        /* bytes that the declared character set does not have */
    ERR_JSON,           /* malformed JSON */
    ERR_FHIR,           /* JSON, but not FHIR R4 */
    ERR_SCRIPT,         /* a script raised, or returned what it may not */
    ERR_BUDGET,         /* a script used up its CPU time or memory */
    ERR_REFUSED,        /* refused by a script or a rule, on purpose */
    ERR_CONFIG,         /* a setting is missing, unknown or makes no sense */
    ERR_USAGE,          /* wrong command line */
    ERR_LIMIT,          /* larger than a limit that the text names */
    ERR_IO,             /* the operating system said no */
    ERR_NET,            /* connect, DNS, reset */
    ERR_TLS,            /* handshake or certificate */
    ERR_TIMEOUT,
    ERR_EXPIRED,        /* not begun: the time in which it may be was over */
    ERR_STORE,          /* PostgreSQL refused this statement or row */
    ERR_STORE_LOST,     /* connection lost: nobody knows whether it committed */
    ERR_CONFLICT,       /* exists already, or changed meanwhile */
    ERR_NOT_FOUND,
    ERR_AUTH,           /* not who, or not allowed */
    ERR_CLOSED,         /* shutting down */
    ERR_COUNT
} err;

/* What a person can act on. Never holds a field's content or other PHI. */
typedef struct err_info {
    err  code;
    char text[256];
} err_info;

/* Fills `why` (NULL allowed) and returns `code`: `return err_set(why, ERR_HL7, …);` */
err err_set(err_info *why, err code, const char *fmt, ...) printf_like(3, 4);

/* Puts `where: ` in front of the text that is there; returns `why->code`. */
err err_prefix(err_info *why, const char *fmt, ...) printf_like(2, 3);

/* A short stable name such as "timeout", for logs and metrics. */
const char *err_name(err code);

/* Prints one line to standard error and aborts. For broken invariants and
 * exhausted memory only; anything else is an `err`. */
void die(const char *fmt, ...) no_return printf_like(1, 2);

/* malloc and friends that die() instead of returning NULL. */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
char *mem_dup(slice s) __attribute__((returns_nonnull));      /* with a NUL behind */

/* ---- doubly linked lists, embedded in what they link ---------------------- */

typedef struct list { struct list *next, *prev; } list;

static inline void list_init(list *head) { head->next = head->prev = head; }
static inline bool list_empty(const list *head) { return head->next == head; }

static inline void list_insert_before(list *at, list *link)
{
    link->next = at;
    link->prev = at->prev;
    at->prev->next = link;
    at->prev = link;
}

static inline void list_push(list *head, list *link) { list_insert_before(head, link); }
static inline void list_push_front(list *head, list *link) { list_insert_before(head->next, link); }

/* Takes `link` out of its list and leaves it in a list of its own. */
static inline void list_remove(list *link)
{
    link->next->prev = link->prev;
    link->prev->next = link->next;
    list_init(link);
}

/* The first link, taken out; NULL when the list is empty. */
static inline list *list_pop(list *head)
{
    list *first = head->next;
    if (first == head) return NULL;
    list_remove(first);                  /* NOLINT(clang-analyzer-unix.Malloc): it loses track of what is linked */
    return first;
}

/* Appends all of `from` to `to` and leaves `from` empty. */
static inline void list_splice(list *to, list *from)
{
    if (list_empty(from)) return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define list_each(it, head) for (list *it = (head)->next; it != (head); it = it->next)
/* The body may remove or free `it`. */
#define list_each_safe(it, head) \
    for (list *it = (head)->next, *it##_next = it->next; it != (head); \
         it = it##_next, it##_next = it->next)

#endif

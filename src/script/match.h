/* script/match.h -- Lua's patterns, matched within a budget.
 *
 * Lua's own matcher backtracks inside C, where no hook reaches it: `.-.-.-b`
 * on 1,500 characters runs for seconds. This one counts its steps. A pattern is
 * translated first, so that all its mistakes are found, also those in a part
 * that this subject would not have reached. */
#ifndef SCRIPT_MATCH_H
#define SCRIPT_MATCH_H

#include "script/budget.h"

#define MATCH_ITEMS 256
#define MATCH_SETS 32
#define MATCH_CAPTURES 32
#define MATCH_TEXT ((size_t)4096)       /* of a pattern: reading it is not interrupted */

typedef struct match_item {
    uint8_t kind;                        /* of match.c */
    uint8_t repeat;                      /* 0 or one of * + - ? */
    uint8_t a, b;                        /* a character, a class, a set's or a capture's number */
} match_item;

typedef struct pattern {
    bool       anchored;                 /* began with ^ */
    int        items, sets, captures;
    match_item item[MATCH_ITEMS];
    uint32_t   set[MATCH_SETS][8];       /* one bit for each byte */
} pattern;

typedef struct capture { const char *start; ptrdiff_t len; } capture;
#define CAPTURE_POSITION ((ptrdiff_t)-1)

typedef struct match {
    const pattern *p;
    slice          subject;
    budget        *budget;
    bool           spent;                /* the budget ended the search */
    capture        captures[MATCH_CAPTURES];
} match;

/* NULL, or what is wrong with the pattern. With `anchors`, a ^ at the front binds. */
const char *pattern_read(slice text, bool anchors, pattern *out) must_check;

/* Matches at exactly `from`; the end of the match, or NULL. */
const char *match_at(match *m, const char *from) __attribute__((nonnull));

/* Where from `from` on a match may begin at the earliest; the subject's end at most. */
const char *match_skip(match *m, const char *from) __attribute__((nonnull));

#endif

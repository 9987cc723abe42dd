/* tests/unit/hl7/fixture.h -- what the tests of hl7 share. */
#ifndef HL7_FIXTURE_H
#define HL7_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hl7/parse.h"

/* Every test has an arena of its own in `*state`. */
static inline int arena_open(void **state)
{
    arena *mem = mem_zalloc(sizeof *mem);
    *state = mem;
    return 0;
}

static inline int arena_shut(void **state)
{
    arena_free(*state);
    free(*state);
    return 0;
}

#define with_arena(test) cmocka_unit_test_setup_teardown(test, arena_open, arena_shut)

/* A copy without a byte to spare, so that ASan sees a read past the end. */
static inline slice exact_copy(arena *mem, slice s)
{
    char *copy = arena_alloc(mem, s.len);
    if (s.len > 0) memcpy(copy, s.ptr, s.len);
    return (slice){ copy, s.len };
}

static inline const hl7_msg *parsed(arena *mem, slice bytes)
{
    err_info why = { ERR_OK, "" };
    hl7_msg *m = NULL;

    if (hl7_parse(mem, exact_copy(mem, bytes), &m, &why) != ERR_OK) fail_msg("%s", why.text);
    return m;
}

static inline hl7_path path_of(const char *text)
{
    err_info why = { ERR_OK, "" };
    hl7_path p = { .field = 0 };

    if (hl7_path_parse(slice_of(text), &p, &why) != ERR_OK) fail_msg("%s", why.text);
    return p;
}

static inline void expect_slice(const char *what, slice found, const char *expected)
{
    if (slice_is(found, expected)) return;
    fail_msg("%s: \"%.*s\" instead of \"%s\"", what, (int)found.len, found.ptr == NULL ? "" : found.ptr, expected);
}

#endif

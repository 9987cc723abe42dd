/* tests/unit/hl7/corpus.c -- messages that others wrote, against the reviewed table.
 *
 * tests/scenario/corpus_verdicts.tsv says of each file of the corpus how many
 * messages it holds and whether they are well-formed and can be stored. Here the
 * code's answer is compared, and what parses is rebuilt from its JSON. The corpus
 * stands beside the checkout (INTEROP_SHARED); without it the test is left out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hl7/batch.h"
#include "hl7/head.h"
#include "hl7/json.h"
#include "hl7/text.h"

static bool read_file(arena *mem, const char *path, slice *out)
{
    FILE *file = fopen(path, "rb");
    long size;

    if (file == NULL) return false;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    assert_true(size >= 0);
    rewind(file);
    char *bytes = arena_alloc(mem, (size_t)size + 1);
    assert_int_equal(fread(bytes, 1, (size_t)size, file), size);
    (void)fclose(file);
    *out = (slice){ bytes, (size_t)size };
    return true;
}

static const char *shared_folder(void)
{
    const char *set = getenv("INTEROP_SHARED");
    return set != NULL ? set : SOURCE_ROOT "/../shared";
}

/* The verdict's reason for a message; "" when it is well-formed and can be stored. */
static const char *judge(arena *mem, slice bytes, const hl7_msg **parsed)
{
    hl7_msg *raw, *m;
    hl7_head head;
    err_info why;
    slice text;
    bool exact;

    *parsed = NULL;
    if (hl7_parse(mem, bytes, &raw, &why) != ERR_OK) {
        assert_int_equal(why.code, ERR_HL7);
        if (strstr(why.text, "no MSH") != NULL) return "no-msh";
        return strstr(why.text, "MSH-1") != NULL || strstr(why.text, "MSH-2") != NULL ? "bad-delimiters"
                                                                                       : "bad-segment";
    }
    hl7_head_read(raw, &head);
    hl7_decode(mem, bytes, head.charset, head.delims.repetition, &text, &exact);
    assert_int_equal(hl7_parse(mem, text, &m, &why), ERR_OK);
    *parsed = m;
    if (head.control_id.len == 0) return "no-control-id";
    return head.type.len == 0 ? "no-type" : "";
}

static bool same_bytes(const char *file, const char *what, slice a, slice b)
{
    size_t at = 0;

    if (slice_eq(a, b)) return true;
    while (at < a.len && at < b.len && a.ptr[at] == b.ptr[at]) at++;
    print_error("%s: %s differs at byte %zu\n", file, what, at + 1);
    return false;
}

/* Rebuilt from the JSON, and put together again from the fields. */
static bool comes_back(arena *mem, const char *file, const hl7_msg *m)
{
    buf json_text = buf_in(mem), rebuilt = buf_in(mem), joined = buf_in(mem);
    err_info why;
    json *v;

    hl7_json_write(&json_text, m);
    if (json_parse(mem, buf_slice(&json_text), &v, &why) != ERR_OK
        || hl7_json_rebuild(&rebuilt, v, &why) != ERR_OK) {
        print_error("%s: %s\n", file, why.text);
        return false;
    }
    for (size_t i = 0; i < hl7_segment_count(m); i++) {
        buf_clear(&joined);
        buf_put(&joined, hl7_segment_name(m, i));
        for (size_t n = i == 0 ? 2 : 1; n <= hl7_field_count(m, i); n++) {
            buf_put(&joined, hl7_field(m, 0, 1));
            buf_put(&joined, hl7_field(m, i, n));
        }
        if (!same_bytes(file, "a segment from its fields", buf_slice(&joined), hl7_segment_bytes(m, i)))
            return false;
    }
    return same_bytes(file, "the rebuilt message", buf_slice(&rebuilt), hl7_bytes(m));
}

typedef struct totals { size_t files, messages, refused, wrong; } totals;

/* One row of the table: file, messages, verdict, reason, remark. */
static void check_row(arena *mem, slice row, totals *t)
{
    slice name = slice_cut(row, '\t', &row), count = slice_cut(row, '\t', &row);
    slice verdict = slice_cut(row, '\t', &row), reason = slice_cut(row, '\t', &row);
    const char *file = arena_cstr(mem, name), *found = "no-msh";
    slice bytes, message, stray;
    size_t offset, before = t->wrong;
    const hl7_msg *m;
    int64_t expected;
    hl7_batch b;

    assert_true(slice_int(count, &expected));
    assert_true(slice_is(verdict, reason.len > 0 ? "refused" : "ok"));
    slice path = arena_printf(mem, "%s/corpus/%s", shared_folder(), file);
    if (!read_file(mem, path.ptr, &bytes)) {
        print_error("%s: in the table, but not in the corpus\n", file);
        t->wrong++;
        return;
    }
    t->files++;
    hl7_batch_open(&b, bytes);
    while (hl7_batch_next(&b, &message, &offset, &stray)) {
        if (message.ptr != bytes.ptr + offset) t->wrong++;
        found = judge(mem, message, &m);
        if (!slice_is(reason, found)) t->wrong++;
        if (m != NULL && !comes_back(mem, file, m)) t->wrong++;
    }
    if (b.messages == 0 && !slice_is(reason, found)) t->wrong++;
    if ((int64_t)b.messages != expected) t->wrong++;
    t->messages += b.messages;
    t->refused += reason.len > 0;
    if (t->wrong > before)
        print_error("%s: the table says %lld messages, \"%.*s\"; found %zu, \"%s\"\n", file,
                    (long long)expected, (int)reason.len, reason.ptr, b.messages, found);
}

static void corpus_has_the_reviewed_verdicts(void **state)
{
    arena kept = { 0 }, mem = { 0 };
    totals t = { 0, 0, 0, 0 };
    slice table, manifest, rest;

    (void)state;
    if (!read_file(&kept, arena_printf(&kept, "%s/corpus/MANIFEST.tsv", shared_folder()).ptr, &manifest)) {
        print_message("left out: no corpus in %s\n", shared_folder());
        arena_free(&kept);
        skip();
    }
    assert_true(read_file(&kept, SOURCE_ROOT "/tests/scenario/corpus_verdicts.tsv", &table));
    (void)slice_cut(table, '\n', &rest); /* the headings */
    while (rest.len > 0) {
        check_row(&mem, slice_cut(rest, '\n', &rest), &t);
        arena_reset(&mem);
    }
    print_message("%zu files, %zu messages; %zu files refused\n", t.files, t.messages, t.refused);
    size_t listed = hl7_part_count(slice_trim(manifest), '\n') - 1;
    assert_int_equal(t.wrong, 0);
    assert_int_equal(t.files, listed);
    arena_free(&mem);
    arena_free(&kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(corpus_has_the_reviewed_verdicts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

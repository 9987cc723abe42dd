/* tests/unit/script/support.h -- a pack from a few texts, a state, a message, and
 * what came of it, for the tests of this folder. */
#ifndef TESTS_SCRIPT_SUPPORT_H
#define TESTS_SCRIPT_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"
#include "script/vm.h"

#define ADT \
    "MSH|^~\\&|LAB|HOSP|RCV|NORTH|20260418093000+0200||ADT^A01^ADT_A01|C1|P|2.5\r" \
    "PID|1||42^^^HOSP&1.2.3&ISO^MR~77^^^^NI||Doe^Jane \\T\\ Co^\"\"||19800229|F|||\"\"\r" \
    "OBX|1|NM|A^B&C||1.10|||HH\r" \
    "OBX|2|ST|D||~x~||||^^\r" \
    "ZPD|a|b\r"

/* More room in time where a sanitizer slows everything down. */
static const vm_limits test_limits = { (size_t)64 << 20, 300000000u, 20000000000u, (size_t)1 << 20 };

typedef struct bench {
    arena         mem;
    pack         *pack;
    vm           *vm;
    err_info      why;
    script_result result;
} bench;

typedef struct file { const char *path, *text; } file;

static inline slice build_archive(arena *mem, const file *files)
{
    pack_builder *b = pack_builder_new(mem);

    for (; files->path != NULL; files++) pack_builder_add(b, slice_of(files->path), slice_of(files->text));
    return pack_builder_archive(b);
}

#define MANIFEST "return { name = 'test', version = '1', handlers = { ['*'] = 'main' } }"

/* A state for a pack whose handler for everything is the module `main`. */
static inline err bench_open_files(bench *b, const file *files, const vm_scope *scope, const vm_limits *limits)
{
    *b = (bench){ 0 };
    err e = pack_open(build_archive(&b->mem, files), NULL, &b->pack, &b->why);
    return e == ERR_OK ? vm_open(b->pack, scope, limits, &b->vm, &b->why) : e;
}

static inline err bench_open(bench *b, const char *main_lua)
{
    const file files[] = { { "pack.lua", MANIFEST }, { "main.lua", main_lua }, { NULL, NULL } };
    const vm_scope scope = { .tenant = slice_lit("north"), .connector_id = slice_lit("CONN_1"),
                             .connector_name = slice_lit("adt") };

    return bench_open_files(b, files, &scope, &test_limits);
}

static inline err bench_run(bench *b, const char *text)
{
    hl7_msg *msg;

    assert_int_equal(hl7_parse(&b->mem, slice_of(text), &msg, &b->why), ERR_OK);
    vm_input input = { .msg = msg, .message_id = slice_lit("MSG_1"), .received_us = 1776497400000000 };
    return vm_transform(b->vm, &input, &b->mem, &b->result, &b->why);
}

static inline void bench_close(bench *b)
{
    vm_close(b->vm);
    pack_drop(b->pack);
    arena_free(&b->mem);
}

/* Everything that a run gave, as one text. */
static inline slice result_text(arena *mem, const script_result *r)
{
    buf out = buf_in(mem);

    for (const script_resource *s = r->resources; s != NULL; s = s->next) {
        json_write(&out, s->resource);
        buf_printf(&out, " url=%.*s type=%.*s if=%.*s owned=%d to=%.*s\n", (int)s->full_url.len, s->full_url.ptr,
                   (int)s->type.len, s->type.ptr, (int)s->if_none_exist.len, s->if_none_exist.ptr, s->owned,
                   (int)s->to.len, s->to.ptr);
    }
    for (const script_hl7 *h = r->hl7; h != NULL; h = h->next)
        buf_printf(&out, "hl7 %.*s: %.*s\n", (int)h->connector.len, h->connector.ptr, (int)h->bytes.len, h->bytes.ptr);
    for (const script_event *e = r->events; e != NULL; e = e->next) {
        buf_printf(&out, "event %.*s", (int)e->type.len, e->type.ptr);
        if (e->data != NULL) {
            buf_putc(&out, ' ');
            json_write(&out, e->data);
        }
        buf_putc(&out, '\n');
    }
    if (r->refused) buf_printf(&out, "refused %.*s\n", (int)r->reason.len, r->reason.ptr);
    if (r->skipped) buf_printf(&out, "skipped %.*s\n", (int)r->reason.len, r->reason.ptr);
    return buf_slice(&out);
}

#endif

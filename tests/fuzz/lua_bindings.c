/* Scripts of any text run in the sandbox, and the files that a state reads: the
 * first byte says which. L: a handler's body; Z: a time zone file; C: a code table;
 * P: a pattern, a line end, and what it is matched with. */
#include <stdlib.h>

#include "script/code_table.h"
#include "script/match.h"
#include "script/timezone.h"
#include "script/vm.h"

static const char message[] =
    "MSH|^~\\&|LAB|HOSP|RCV|NORTH|20260418093000+0200||ADT^A01^ADT_A01|C1|P|2.5\r"
    "PID|1||42^^^HOSP&1.2.3&ISO^MR~77^^^^NI||Doe^Jane \\T\\ Co^\"\"||19800229|F|||\"\"\r"
    "OBX|1|NM|A^B&C||1.10|||HH\r";

static void run_script(slice body)
{
    static const vm_limits limits = { (size_t)8 << 20, 20000000u, 5000000000u, (size_t)1 << 20 };
    const vm_scope scope = { .tenant = slice_lit("t"), .connector_name = slice_lit("c"),
                             .timezone = slice_lit("Europe/Berlin"),
                             .tables = slice_lit("{\"sex\":{\"M\":{\"to\":\"male\"}}}") };
    arena mem = { 0 };
    pack_builder *b = pack_builder_new(&mem);
    pack *p = NULL;
    vm *v = NULL;
    hl7_msg *msg;
    script_result result;
    err_info why;

    pack_builder_add(b, slice_lit("pack.lua"),
                     slice_lit("return { name = 'f', version = '1', handlers = { ['*'] = 'main' } }"));
    pack_builder_add(b, slice_lit("main.lua"),
                     arena_printf(&mem, "local host, json, hl7 = require 'host', require 'json', require 'hl7'\n"
                                  "return function(msg, out) %.*s\nend", (int)body.len, body.ptr));
    if (utf8_valid(body) == body.len && pack_open(pack_builder_archive(b), NULL, &p, &why) == ERR_OK &&
        hl7_parse(&mem, slice_of(message), &msg, &why) == ERR_OK &&
        vm_open(p, &scope, &limits, &v, &why) == ERR_OK) {
        vm_input input = { .msg = msg, .message_id = slice_lit("MSG_1") };
        for (int i = 0; i < 2; i++)
            if (vm_transform(v, &input, &mem, &result, &why) == ERR_BUDGET) break;
    }
    vm_close(v);
    pack_drop(p);
    arena_free(&mem);
}

static void read_zone(slice bytes)
{
    err_info why;
    zone *z;

    if (zone_read(bytes, &z, &why) != ERR_OK) return;
    for (int64_t at = -70000000000; at < 70000000000; at += 1234567890) (void)zone_offset(z, at);
    zone_free(z);
}

static void read_table(slice bytes)
{
    arena mem = { 0 };
    code_table_set set;
    code_table table;
    err_info why;

    if (code_table_read(&mem, slice_lit("t"), bytes, &table, &why) == ERR_OK) {
        buf out = buf_in(&mem);
        code_overlay_write(&out, &table);
    }
    (void)!code_overlay_read(&mem, bytes, &set, &why);
    arena_free(&mem);
}

static void match_pattern(slice bytes)
{
    static pattern p;
    slice subject, text = slice_cut(bytes, '\n', &subject);
    budget b = { .cpu_end = UINT64_MAX, .wall_end = UINT64_MAX };

    if (subject.len > 40 || text.len > 40 || pattern_read(text, true, &p) != NULL) return;
    /* As long as backtracking stays short: the budget's end needs a state. */
    match m = { .p = &p, .subject = subject, .budget = &b };
    if (p.items < 12 && subject.ptr != NULL) (void)match_at(&m, subject.ptr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice rest;

    if (size == 0) return 0;
    rest = (slice){ (const char *)data + 1, size - 1 };
    switch (data[0]) {
    case 'L': run_script(rest); break;
    case 'Z': read_zone(rest); break;
    case 'C': read_table(rest); break;
    case 'P': match_pattern(rest); break;
    default: break;
    }
    return 0;
}

/* Packs: manifests, handlers by type, what shadows what, code tables, settings. */
#include "support.h"

#include "script/code_table.h"
#include "script/pack_inside.h"

#define MAIN { "main.lua", "return function() end" }
#define HEAD "name = 'a', version = '1', "

static err open_manifest(const char *text, err_info *why)
{
    const file files[] = { { "pack.lua", text }, MAIN, { NULL, NULL } };
    arena mem = { 0 };
    pack *p = NULL;

    err e = pack_open(build_archive(&mem, files), NULL, &p, why);
    pack_drop(p);
    arena_free(&mem);
    return e;
}

static void manifests(void **state)
{
    static const char *const rows[][2] = {
        { "return { " HEAD "handlers = { ['*'] = 'main' } }", NULL },
        { "return { " HEAD "handlers = { ADT = 'main', ['ADT^*'] = 'main', ['ORU^R01'] = 'main' }, description = 'd' }", NULL },
        { "return { " HEAD "handlers = { ['*'] = 'main' }, settings = { x = { type = 'string', default = 'a', help = 'h' } } }", NULL },
        { "return {", "pack.lua:1: unexpected symbol" }, { "error 'x'", "pack.lua:1: x" },
        { "return 1", "pack.lua: returns a number" }, { "", "returns a nil" },
        { "while true do end", "CPU time budget of 100 ms" }, { "return require 'x'", "no module 'x'" },
        { "return { version = '1', handlers = { ['*'] = 'main' } }", "pack.lua: name" },
        { "return { name = 'a b', version = '1', handlers = { ['*'] = 'main' } }", "pack.lua: name" },
        { "return { name = 'a', handlers = { ['*'] = 'main' } }", "version" },
        { "return { " HEAD "handler = {} }", "'handler' is no key of a manifest" },
        { "return { " HEAD "}", "neither handlers nor uses" },
        { "return { " HEAD "handlers = { ['A D'] = 'main' } }", "'A D' is no message type" },
        { "return { " HEAD "handlers = { ['ADT^A*'] = 'main' } }", "'ADT^A*' is no message type" },
        { "return { " HEAD "handlers = { ADT = 1 } }", "'ADT': not a module's name" },
        { "return { " HEAD "handlers = { 'main' } }", "handlers: not a table by message type" },
        { "return { " HEAD "handlers = { ADT = 'gone' } }", "pack.lua: handlers: 'ADT': no module 'gone'" },
        { "return { " HEAD "uses = 'b' }", "uses: not a list" }, { "return { " HEAD "uses = { '../b' } }", "uses: [1] is no" },
        { "return { " HEAD "uses = { 'b' } }", "uses 'b', which the archive does not hold" },
        { "return { " HEAD "handlers = { ['*'] = 'main' }, settings = { x = 1 } }", "settings: 'x': not a table" },
        { "return { " HEAD "handlers = { ['*'] = 'main' }, settings = { x = { type = 'text' } } }", "settings: 'x': type is none" },
        { "return { " HEAD "handlers = { ['*'] = 'main' }, settings = { x = { typ = 'string' } } }", "'typ' is none" },
        { "return { " HEAD "handlers = { ['*'] = 'main' }, settings = { x = { type = 'integer', default = 1.5 } } }", "the default is not" },
    };
    err_info why;

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        err e = open_manifest(rows[i][0], &why);
        if ((e == ERR_OK) != (rows[i][1] == NULL)) fail_msg("%s: %s", rows[i][0], why.text);
        if (e != ERR_OK && strstr(why.text, rows[i][1]) == NULL) fail_msg("%s: %s", rows[i][0], why.text);
    }
}

static void archives(void **state)
{
    const file files[] = { { "pack.lua", MANIFEST }, MAIN, { "a.lua", "\"\xc3\xa4\n" }, { NULL, NULL } };
    arena mem = { 0 };
    err_info why;
    pack *p, *same;

    (void)state;
    slice archive = build_archive(&mem, files);
    assert_true(slice_starts(archive, slice_lit("{\"a.lua\":\"\\\"\xc3\xa4\\n\",\"main.lua\":")));
    assert_int_equal(pack_open(archive, NULL, &p, &why), ERR_OK);
    assert_true(slice_is(pack_name(p), "test") && slice_is(pack_version(p), "1"));
    assert_true(slice_eq(pack_archive(p), archive));
    assert_true(slice_is(pack_file(p, "a.lua"), "\"\xc3\xa4\n"));
    assert_null(pack_file(p, "b.lua").ptr);
    char digest[65];
    memcpy(digest, pack_digest(p), 65);
    assert_int_equal(strlen(digest), 64);
    pack_drop(pack_keep(p));
    assert_int_equal(pack_open(archive, NULL, &same, &why), ERR_OK);
    assert_ptr_equal(same, p);           /* what is open is not opened again */
    pack_drop(same);
    pack_drop(p);
    assert_int_equal(pack_open(archive, digest, &p, &why), ERR_OK);
    pack_drop(p);
    digest[0] ^= 1;
    assert_int_equal(pack_open(archive, digest, &p, &why), ERR_SCRIPT);
    assert_int_equal(pack_open(slice_lit("{"), NULL, &p, &why), ERR_JSON);
    assert_int_equal(pack_open(slice_lit("[]"), NULL, &p, &why), ERR_SCRIPT);
    assert_int_equal(pack_open(slice_lit("{}"), NULL, &p, &why), ERR_SCRIPT);
    assert_string_equal(why.text, "no pack.lua");
    assert_int_equal(pack_open(slice_lit("{\"pack.lua\":1}"), NULL, &p, &why), ERR_SCRIPT);
    pack_drop(NULL);
    arena_free(&mem);
}

/* A site's pack on two others, one of which uses a third. */
static const file site[] = {
    { "pack.lua", "return { name = 'site', version = '1', uses = { 'b', 'c' }, "
                  "handlers = { ['ORU^R01'] = 'oru', ['ADT'] = 'adt' }, "
                  "settings = { own = { type = 'string', required = true }, both = { type = 'integer', default = 1 } } }" },
    { "oru.lua", "return require 'show' 'site oru'" },
    { "adt.lua", "local base = require 'packs.b.adt' return function(m, out) out:event('site.adt') base(m, out) end" },
    { "pid.lua", "return 'site pid'" },
    { "show.lua", "return function(text) return function(m, out) out:event('e', { text, require 'pid', require 'low', "
                  "m.settings.own, m.settings.both, m.settings.deep.x }) end end" },
    { "tables/sex.csv", "code,to\nM,site\n" },
    { "packs/b/pack.lua", "return { name = 'b', version = '2', uses = { 'd' }, handlers = { ['ADT^A01'] = 'adt', ['SIU'] = 'siu' }, "
                          "settings = { both = { type = 'string', default = 'b' }, deep = { type = 'table', default = { x = 'dx' } } } }" },
    { "packs/b/adt.lua", "return require 'show' 'b adt'" },
    { "packs/b/siu.lua", "return require 'show' 'b siu'" },
    { "packs/b/pid.lua", "return 'b pid'" },
    { "packs/b/low.lua", "return 'b low, ' .. require 'packs.b.pid' .. ', ' .. require 'libmod'" },
    { "packs/b/tables/sex.csv", "code,to,display\nM,b,\"B, \"\"x\"\"\"\nF,b,\n" },
    { "packs/c/pack.lua", "return { name = 'c', version = '1', handlers = { ['*'] = 'rest' } }" },
    { "packs/c/rest.lua", "return require 'show' 'c rest'" },
    { "packs/d/pack.lua", "return { name = 'd', version = '1', uses = { 'b' }, handlers = { ['SIU^S12'] = 'siu' } }" },
    { "packs/d/siu.lua", "return require 'show' 'd siu'" },
    { "lib/libmod.lua", "return 'lib'" },
    { "lib/pid.lua", "return 'lib pid'" },
    { "lib/tables/sex.csv", "code,to\nU,lib\n" },
    { NULL, NULL }
};

static const vm_scope site_scope = { .tenant = slice_lit("t"), .settings = slice_lit("{\"own\":\"o\"}") };

static void layers(void **state)
{
    static const char *const rows[][2] = {
        { "ORU^R01", "event e [\"site oru\",\"site pid\",\"b low, b pid, lib\",\"o\",1,\"dx\"]\n" },
        { "ADT^A01", "event site.adt\nevent e [\"b adt\",\"site pid\",\"b low, b pid, lib\",\"o\",1,\"dx\"]\n" },
        { "SIU^S12", "event e [\"b siu\"," }, { "MDM^T02", "event e [\"c rest\"," },
    };
    bench b;

    (void)state;
    assert_int_equal(bench_open_files(&b, site, &site_scope, &test_limits), ERR_OK);
    for (size_t i = 0; i < countof(rows); i++) {
        char text[128];
        (void)snprintf(text, sizeof text, "MSH|^~\\&|||||2026||%s|1|P|2.5\r", rows[i][0]);
        if (bench_run(&b, text) != ERR_OK) fail_msg("%s", b.why.text);
        slice got = result_text(&b.mem, &b.result);
        if (!slice_starts(got, slice_of(rows[i][1]))) fail_msg("%s: %.*s", rows[i][0], (int)got.len, got.ptr);
    }
    bench_close(&b);
}

static void handlers(void **state)
{
    const file files[] = {
        { "pack.lua", "return { " HEAD "handlers = { ['ADT^A01'] = 'main', ['ADT^*'] = 'main', ACK = 'main' } }" }, MAIN, { NULL, NULL }
    };
    static const struct { const char *type, *pattern; } rows[] = {
        { "ADT^A01", "ADT^A01" }, { "ADT^A02", "ADT^*" }, { "ACK", "ACK" }, { "ACK^A01", "ACK" }, { "ORU^R01", NULL }, { "", NULL },
    };
    arena mem = { 0 };
    err_info why;
    pack *p;

    (void)state;
    assert_int_equal(pack_open(build_archive(&mem, files), NULL, &p, &why), ERR_OK);
    for (size_t i = 0; i < countof(rows); i++) {
        size_t at = pack_handler_find(p, slice_of(rows[i].type));
        if ((at == SIZE_MAX) != (rows[i].pattern == NULL)) fail_msg("%s", rows[i].type);
        if (at != SIZE_MAX) assert_true(slice_is(pack_handler_at(p, at)->pattern, rows[i].pattern));
    }
    pack_drop(p);
    arena_free(&mem);

    const vm_scope scope = { .tenant = slice_lit("t") };
    bench b;
    assert_int_equal(bench_open_files(&b, files, &scope, &test_limits), ERR_OK);
    assert_int_equal(bench_run(&b, "MSH|^~\\&|||||2026||ORU^R01|1|P|2.5\r"), ERR_OK);
    assert_string_equal(arena_cstr(&b.mem, result_text(&b.mem, &b.result)), "skipped no handler for ORU^R01\n");
    bench_close(&b);
}

static void settings(void **state)
{
    static const char *const rows[][2] = {
        { "", "the pack needs the setting 'own'" }, { "{\"own\":1}", "setting 'own' is no string" },
        { "{\"own\":\"a\",\"both\":\"x\"}", "setting 'both' is no integer" }, { "{\"own\":\"a\",\"x\":1}", "no setting 'x'" },
        { "[]", "settings: not an object" }, { "{", "settings: " }, { "{\"own\":\"a\",\"deep\":1}", "'deep' is no table" },
        { "{\"own\":\"a\",\"both\":2,\"deep\":{\"x\":\"y\"}}", NULL },
    };

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        const vm_scope scope = { .tenant = slice_lit("t"), .settings = slice_of(rows[i][0]) };
        bench b;
        err e = bench_open_files(&b, site, &scope, &test_limits);
        if ((e == ERR_OK) != (rows[i][1] == NULL)) fail_msg("%s: %s", rows[i][0], b.why.text);
        if (e != ERR_OK && strstr(b.why.text, rows[i][1]) == NULL) fail_msg("%s: %s", rows[i][0], b.why.text);
        bench_close(&b);
    }
}

static void code_tables(void **state)
{
    static const char main_lua[] =
        "local t = require('host').table 'sex' return function(msg, out) local all = {} "
        "for code, row in pairs(t) do for k, v in pairs(row) do all[#all + 1] = code .. '.' .. k .. '=' .. v end end "
        "out:event('t', { all, t.M and t.M.to or 'none', t[5] and t[5].to or 'none', t.none == nil, t.F and t.F.x == nil }) "
        "assert(not pcall(function() t.X = 1 end) and not pcall(function() t.F.to = 1 end)) end";
    static const struct { const char *overlay, *expected; } rows[] = {
        { "", "event t [[\"F.code=F\",\"F.to=b\",\"M.code=M\",\"M.to=site\",\"U.code=U\",\"U.to=lib\"],\"site\",\"none\",true,true]\n" },
        { "{\"sex\":{\"M\":null,\"5\":{\"to\":\"five\"},\"F\":{\"to\":\"tenant\"}}}",
          "event t [[\"5.to=five\",\"F.to=tenant\",\"U.code=U\",\"U.to=lib\"],\"none\",\"five\",true,true]\n" },
    };
    file files[countof(site)];

    (void)state;
    memcpy(files, site, sizeof site);
    for (size_t i = 0; files[i].path != NULL; i++)
        if (strcmp(files[i].path, "oru.lua") == 0) files[i].text = main_lua;
    for (size_t i = 0; i < countof(rows); i++) {
        vm_scope scope = site_scope;
        bench b;
        scope.tables = slice_of(rows[i].overlay);
        if (bench_open_files(&b, files, &scope, &test_limits) != ERR_OK ||
            bench_run(&b, "MSH|^~\\&|||||2026||ORU^R01|1|P|2.5\r") != ERR_OK) fail_msg("%s", b.why.text);
        assert_string_equal(arena_cstr(&b.mem, result_text(&b.mem, &b.result)), rows[i].expected);
        bench_close(&b);
    }
}

static void csv_files(void **state)
{
    static const char *const rows[][2] = {
        { "code,to\nA,\"x,\"\"y\"\"\nz\"\r\nB\n\n", "\"t\":{\"A\":{\"code\":\"A\",\"to\":\"x,\\\"y\\\"\\nz\"},\"B\":{\"code\":\"B\"}}" },
        { "\xEF\xBB\xBF" "code\nB\nA", "\"t\":{\"A\":{\"code\":\"A\"},\"B\":{\"code\":\"B\"}}" },
        { "code,to\r\n\"\"\"\",\"\"\r\n", "\"t\":{\"\\\"\":{\"code\":\"\\\"\"}}" },
        { "code\n", "\"t\":{}" },
        { "", "no column names" }, { "code,,x\n", "line 1: column 2 has no name" }, { "a,b,a\n", "column 3 has the name of column 1" },
        { "a\nx,y\n", "line 2: 2 fields, but 1 columns" }, { "a,b\n,y\n", "line 2: no code" }, { "a\nx\nx\n", "two rows with the code 'x'" },
        { "a\n\"x\n", "line 2: a quote is not closed" }, { "a\n\"x\"y\n", "line 2: text behind a closing quote" },
        { "a\nx\"y\n", "line 2: a quote inside" }, { "a,b\n\"x\ny\",1\n\n1,2,3\n", "line 5: 3 fields" },
    };

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        arena mem = { 0 };
        buf out = buf_in(&mem);
        code_table t;
        err_info why;
        bool good = code_table_read(&mem, slice_lit("t"), slice_of(rows[i][0]), &t, &why) == ERR_OK;
        if (good) code_overlay_write(&out, &t);
        else buf_puts(&out, why.text);
        if (strstr(arena_cstr(&mem, buf_slice(&out)), rows[i][1]) == NULL)
            fail_msg("%s: %.*s", rows[i][0], (int)out.len, out.ptr);
        arena_free(&mem);
    }
    static const char *const overlays[][2] = {
        { "[]", "tables: not an object" }, { "{\"a\":1}", "tables: 'a': a table is" }, { "{\"a\":{\"b\":1}}", "tables: 'a': 'b': a row is" },
        { "{\"a\":{\"b\":{\"c\":[]}}}", "tables: 'a': 'b': column 'c' is no text" }, { "{", "tables: " },
    };
    for (size_t i = 0; i < countof(overlays); i++) {
        arena mem = { 0 };
        code_table_set set;
        err_info why;
        assert_int_not_equal(code_overlay_read(&mem, slice_of(overlays[i][0]), &set, &why), ERR_OK);
        if (strstr(why.text, overlays[i][1]) == NULL) fail_msg("%s: %s", overlays[i][0], why.text);
        arena_free(&mem);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(manifests), cmocka_unit_test(archives), cmocka_unit_test(layers), cmocka_unit_test(handlers),
        cmocka_unit_test(settings), cmocka_unit_test(code_tables), cmocka_unit_test(csv_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Packs from folders on disk: what is gathered, what is refused, and how it is said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "engine/pack_folder.h"
#include "script/pack.h"

typedef struct site { arena mem; char root[64]; err_info why; slice archive; } site;

static const char *at(site *s, const char *path) { return arena_printf(&s->mem, "%s/%s", s->root, path).ptr; }

static void put(site *s, const char *path, slice text)
{
    char *full = arena_cstr(&s->mem, slice_of(at(s, path)));

    for (char *c = full + strlen(s->root) + 1; (c = strchr(c, '/')) != NULL; *c++ = '/') {
        *c = '\0';
        (void)mkdir(full, 0700);
    }
    FILE *f = fopen(full, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text.ptr, 1, text.len, f), text.len);
    assert_int_equal(fclose(f), 0);
}

static const char *const files[][2] = {
    { "lua/lib/v2.lua", "return 1" }, { "lua/lib/deep/x.lua", "return 2" }, { "lua/lib/notes.txt", "no" },
    { "lua/packs/stock/pack.lua", "return { name = 'stock', version = '1', handlers = { ['*'] = 'all' } }" },
    { "lua/packs/stock/all.lua", "return function() end" }, { "lua/packs/stock/tests/x_test.lua", "no" },
    { "lua/packs/stock/tables/sex.csv", "code\nM\n" },
    { "sites/low/pack.lua", "return { name = 'low', version = '1', handlers = { ['*'] = 'all' } }" },
    { "sites/low/all.lua", "return function() end" },
    { "sites/west/pack.lua", "return { name = 'west', version = '1', uses = { 'stock', 'low' } }" },
    { "sites/west/sub/mod.lua", "return 3" }, { "sites/west/tests/a.lua", "no" }, { "sites/west/README.md", "no" },
    { "sites/west/.hidden.lua", "no" }, { "sites/west/tables/a.csv", "code\nx\n" }, { "sites/west/other.csv", "no" },
};

static int make_site(void **state)
{
    static site s;

    s = (site){ .root = "/tmp/interop-pack-XXXXXX" };
    assert_non_null(mkdtemp(s.root));
    for (size_t i = 0; i < countof(files); i++) put(&s, files[i][0], slice_of(files[i][1]));
    *state = &s;
    return 0;
}

static int drop_site(void **state)
{
    site *s = *state;
    char command[128];

    (void)snprintf(command, sizeof command, "rm -r %s", s->root);
    int code = system(command);
    arena_free(&s->mem);
    return code;
}

static err read_west(site *s)
{
    return pack_folder_read(&s->mem, at(s, "sites/west"), at(s, "lua"), &s->archive, &s->why);
}

static void gathered(void **state)
{
    static const char *const expected[] = {
        "lib/deep/x.lua", "lib/v2.lua", "pack.lua", "packs/low/all.lua", "packs/low/pack.lua", "packs/stock/all.lua",
        "packs/stock/pack.lua", "packs/stock/tables/sex.csv", "sub/mod.lua", "tables/a.csv",
    };
    site *s = *state;
    json *v;
    pack *p;
    size_t n = 0;

    if (read_west(s) != ERR_OK) fail_msg("%s", s->why.text);
    assert_int_equal(json_parse(&s->mem, s->archive, &v, &s->why), ERR_OK);
    for (const json *f = v->child; f != NULL; f = f->next, n++)
        if (n >= countof(expected) || !slice_is(f->key, expected[n])) fail_msg("%.*s", (int)f->key.len, f->key.ptr);
    assert_int_equal(n, countof(expected));
    if (pack_open(s->archive, NULL, &p, &s->why) != ERR_OK) fail_msg("%s", s->why.text);
    pack_drop(p);

    slice again = s->archive;            /* the same bytes, also by another way to the folder */
    assert_int_equal(chdir(at(s, "sites")), 0);
    assert_int_equal(pack_folder_read(&s->mem, "west/", "../lua", &s->archive, &s->why), ERR_OK);
    assert_true(slice_eq(s->archive, again));
    assert_int_equal(chdir("/"), 0);
}

static void refused(void **state)
{
    static char large[PACK_FILE_MAX + 2];
    static const struct { const char *path; slice text; const char *link, *expected; } rows[] = {
        { "sites/west/latin.lua", slice_lit("-- \xe4"), NULL, "latin.lua: not UTF-8 text (byte 4)" },
        { "sites/west/nul.lua", slice_lit("a\0b"), NULL, "nul.lua: not UTF-8 text (byte 2)" },
        { "sites/west/large.lua", { large, PACK_FILE_MAX + 1 }, NULL, "large.lua: larger than 1024 KiB" },
        { "sites/west/lib/x.lua", slice_lit(""), NULL, "sites/west/lib: these names are" },
        { "sites/west/packs/x.lua", slice_lit(""), NULL, "sites/west/packs: these names are" },
        { "sites/west/out.lua", SLICE_NONE, "../low/all.lua", "out.lua: a link that leaves" },
        { "sites/west/etc.lua", SLICE_NONE, "/etc/passwd", "etc.lua: a link that leaves" },
        { "sites/west/gone.lua", SLICE_NONE, "nowhere.lua", "gone.lua: No such file" },
        { "sites/west/pack.lua", slice_lit("return { name = 'west', version = '1', uses = { 'nope' } }"), NULL,
          "uses 'nope', which is neither in" },
        { "sites/west/pack.lua", slice_lit("return {"), NULL, "sites/west: pack.lua:1:" },
    };
    site *s = *state;

    memset(large, '-', sizeof large);
    for (size_t i = 0; i < countof(rows); i++) {
        (void)drop_site(state);
        assert_int_equal(make_site(state), 0);
        if (rows[i].link != NULL) assert_int_equal(symlink(rows[i].link, at(s, rows[i].path)), 0);
        else put(s, rows[i].path, rows[i].text);
        assert_int_not_equal(read_west(s), ERR_OK);
        if (strstr(s->why.text, rows[i].expected) == NULL) fail_msg("%s: %s", rows[i].expected, s->why.text);
    }
    assert_int_not_equal(pack_folder_read(&s->mem, at(s, "none"), at(s, "lua"), &s->archive, &s->why), ERR_OK);
    assert_int_not_equal(pack_folder_read(&s->mem, at(s, "lua"), at(s, "lua"), &s->archive, &s->why), ERR_OK);
}

/* A link within the folder is a file like another; sixteen large ones are too much. */
static void allowed_and_total(void **state)
{
    static char large[PACK_FILE_MAX];
    site *s = *state;
    char name[64];

    assert_int_equal(symlink("sub/mod.lua", at(s, "sites/west/alias.lua")), 0);
    if (read_west(s) != ERR_OK) fail_msg("%s", s->why.text);
    assert_non_null(strstr(arena_cstr(&s->mem, s->archive), "\"alias.lua\":\"return 3\""));
    memset(large, '-', sizeof large);
    for (int i = 0; i < 16; i++) {
        (void)snprintf(name, sizeof name, "sites/west/l%d.lua", i);
        put(s, name, (slice){ large, sizeof large });
    }
    assert_int_equal(read_west(s), ERR_LIMIT);
    assert_non_null(strstr(s->why.text, "more than 16 MiB"));
}

static void lua_folder(void **state)
{
    site *s = *state;
    const char *dir;

    assert_int_equal(setenv("INTEROP_LUA", at(s, "lua"), 1), 0);
    assert_int_equal(pack_folder_lua_dir(&s->mem, &dir, &s->why), ERR_OK);
    assert_string_equal(dir, at(s, "lua"));
    assert_int_equal(setenv("INTEROP_LUA", at(s, "sites"), 1), 0);
    assert_int_equal(pack_folder_lua_dir(&s->mem, &dir, &s->why), ERR_CONFIG);
    assert_int_equal(unsetenv("INTEROP_LUA"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gathered, make_site, drop_site),
        cmocka_unit_test_setup_teardown(refused, make_site, drop_site),
        cmocka_unit_test_setup_teardown(allowed_and_total, make_site, drop_site),
        cmocka_unit_test_setup_teardown(lua_folder, make_site, drop_site),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

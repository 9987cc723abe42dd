/* Our string functions against Lua's own: a table of cases that each stand for a
 * rule, and many patterns made up from pieces, all run by both. */
#include "support.h"

#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

#include "script/state.h"

/* Gives the results of six calls, or their errors, a line each. */
static const char probe[] =
    "local function show(...)\n"
    "  local t = table.pack(...)\n"
    "  for i = 1, t.n do t[i] = type(t[i]):sub(1, 1) .. tostring(t[i]) end\n"
    "  return table.concat(t, '|', 1, t.n)\n"
    "end\n"
    "local function each(s, p)\n"
    "  local out = {}\n"
    "  for a, b in string.gmatch(s, p) do out[#out + 1] = show(a, b) end\n"
    "  return table.concat(out, ';')\n"
    "end\n"
    "return function(s, p)\n"
    "  local _, a = pcall(function() return show(string.find(s, p)) end)\n"
    "  local _, b = pcall(function() return show(string.match(s, p, 2)) end)\n"
    "  local _, c = pcall(function() return show(string.gsub(s, p, '<%0>')) end)\n"
    "  local _, d = pcall(function() return each(s, p) end)\n"
    "  local _, e = pcall(function() return show(string.gsub(s, p, function(x) return x ~= 'a' and 'f' end, 3)) end)\n"
    "  local _, f = pcall(function() return show(string.find(s, p, -3)) end)\n"
    "  return table.concat({ a, b, c, d, e, f }, '\\n')\n"
    "end\n";

typedef struct pair { lua_State *theirs; vm *ours; } pair;

static lua_State *open_theirs(void)
{
    lua_State *L = luaL_newstate();

    luaL_openlibs(L);
    assert_int_equal(luaL_dostring(L, probe), LUA_OK);
    lua_setglobal(L, "probe");
    return L;
}

static int load_probe(lua_State *L)
{
    assert_int_equal(luaL_loadstring(L, probe), LUA_OK);
    lua_call(L, 0, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "probe");
    return 0;
}

typedef struct call { slice s, p; char out[4096]; } call;

static int call_probe(lua_State *L)
{
    call *c = lua_touserdata(L, 1);

    (void)lua_getfield(L, LUA_REGISTRYINDEX, "probe");
    lua_pushlstring(L, c->s.ptr, c->s.len);
    lua_pushlstring(L, c->p.ptr, c->p.len);
    lua_call(L, 2, 1);
    (void)snprintf(c->out, sizeof c->out, "%s", lua_tostring(L, -1));
    return 0;
}

/* A line for each function. Ours may have found a mistake ahead of the match that
 * Lua never reached; but what Lua finds wrong is wrong. */
static void compare_lines(const call *c, slice theirs)
{
    slice ours = slice_of(c->out);

    while (ours.ptr != NULL && theirs.ptr != NULL) {
        slice mine = slice_cut(ours, '\n', &ours), lua = slice_cut(theirs, '\n', &theirs);
        if (memmem(mine.ptr, mine.len, "]:", 2) != NULL) continue;
        if (!slice_eq(mine, lua))
            fail_msg("'%s' on '%s':\nours   %.*s\ntheirs %.*s", c->p.ptr, c->s.ptr, (int)mine.len, mine.ptr,
                     (int)lua.len, lua.ptr);
    }
    assert_true(ours.ptr == NULL && theirs.ptr == NULL);
}

static void compare(pair *both, slice s, slice p)
{
    static call c;
    arena mem = { 0 };
    err_info why;

    c = (call){ .s = s, .p = p };
    if (state_call(both->ours, call_probe, &c, &mem, 1000000000u, 10000000000u, &why) != ERR_OK)
        fail_msg("'%s' on '%s': %s", p.ptr, s.ptr, why.text);
    arena_free(&mem);
    (void)lua_getglobal(both->theirs, "probe");
    lua_pushlstring(both->theirs, s.ptr, s.len);
    lua_pushlstring(both->theirs, p.ptr, p.len);
    lua_call(both->theirs, 2, 1);
    compare_lines(&c, slice_of(lua_tostring(both->theirs, -1)));
    lua_pop(both->theirs, 1);
}

static void open_both(pair *both)
{
    arena mem = { 0 };
    err_info why;

    assert_int_equal(state_open(&test_limits, &both->ours, &why), ERR_OK);
    assert_int_equal(state_call(both->ours, load_probe, NULL, &mem, 1000000000u, 10000000000u, &why), ERR_OK);
    both->theirs = open_theirs();
    arena_free(&mem);
}

static void close_both(pair *both)
{
    state_close(both->ours);
    lua_close(both->theirs);
}

static void rules(void **state)
{
    static const char *const patterns[] = {
        "", "a", "abc", "^a", "a$", "^$", "^abc$", "a^", "$a", ".", "..", "a.c", "a*", "a+", "a-", "a?", ".*", ".-", ".+",
        "a-b", "a*b", "(a)", "(a*)", "(a)(b)", "((a)b)", "()", "()a()", "(a)%1", "(.)%1", "%a", "%A", "%d+", "%s*", "%w+",
        "%W", "%p", "%l%u", "%x+", "%c", "%g+", "[abc]", "[^abc]+", "[a-c]+", "[%a_]+", "[%d%s]", "[]]", "[^]]", "[]a]+",
        "[a-]", "[-a]+", "[%]]", "[a%-c]", "[^%s]+", "[a-%d]", "%%", "%.", "%(", "%b()", "%bxx", "%b<>", "%f[%w]%w+", "%f[a]",
        "%f[%z]", "%f[^%z]", "a%f[%W]", "*", "+a", "-", "?", "a**", "a+?", "(()a)", "^(.-)%s*$", "^%s*(.-)%s*$", "(%w+)=(%w+)",
        "%1", "(a", "a)", "%", "[a", "[", "[]", "[^", "%b", "%bx", "%f", "%fa", "(%1)", "%9", "%0", "[%", "x%", "[a-", "%z",
        "\xc3\xa4", "[\x80-\xff]+", "()()()", "(a?)(b?)(c?)", "a-$", ".-$", "^.-b", "%D*%d", "[%w.-]+@[%w-]+",
    };
    static const char *const subjects[] = {
        "", "a", "abc", "aabbcc", "  a b  ", "key=value, k2=v2", "(a(b)c)", "x<y<z>>", "THE (quick) fox", "a.b-c_d%e",
        "\xc3\xa4\xc3\xb6", "aaa", "[x]", "a]b[c", "12 34\t56", "hello world from Lua", "x--x", "me@ex-a.org", "\x01\x7f",
    };
    pair both;

    (void)state;
    open_both(&both);
    for (size_t i = 0; i < countof(patterns); i++)
        for (size_t k = 0; k < countof(subjects); k++)
            compare(&both, slice_of(subjects[k]), slice_of(patterns[i]));
    compare(&both, slice_lit("a\0b\0"), slice_lit("%z"));
    compare(&both, slice_lit("a\0b\0"), slice_lit("\0b"));
    compare(&both, slice_lit("a\0b\0"), slice_lit("[\0-a]+"));
    close_both(&both);
}

static void made_up(void **state)
{
    static const char *const pieces[] = {
        "a", "b", ".", "%a", "%w", "%d", "[ab]", "[^a]", "(", ")", "()", "*", "+", "-", "?", "$", "^", "%b()", "%f[%w]", "%1",
        "%s", "1", "[a-c]", " ", "%p",
    };
    static const char letters[] = "aab1 (b)c.";
    unsigned seed = 20260418;
    pair both;

    (void)state;
    open_both(&both);
    for (int n = 0; n < 6000; n++) {
        char pattern[64] = "", subject[16];
        size_t length = 0;
        for (int i = 0; i < 1 + n % 6; i++) {
            seed = seed * 1103515245u + 12345u;
            (void)strncat(pattern, pieces[(seed >> 16) % countof(pieces)], sizeof pattern - strlen(pattern) - 1);
        }
        for (int i = 0; i < n % 13; i++) {
            seed = seed * 1103515245u + 12345u;
            subject[length++] = letters[(seed >> 16) % (sizeof letters - 1)];
        }
        subject[length] = '\0';
        compare(&both, slice_of(subject), slice_of(pattern));
    }
    close_both(&both);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rules), cmocka_unit_test(made_up) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* script/lib_string.c -- the string functions that could pin a core inside C, or
 * show an address, made anew; the rest is Lua's.
 *
 *   string.find match gmatch gsub      by match.c
 *   string.rep                         bounded by the memory limit
 *   string.format                      without %p; %s shows no address
 *   string.dump                        is not there */
#include "script/match.h"
#include "script/state.h"

static slice check_slice(lua_State *L, int index)
{
    slice s;
    s.ptr = luaL_checklstring(L, index, &s.len);
    return s;
}

static void read_pattern(lua_State *L, slice text, bool anchors, pattern *out)
{
    const char *wrong = pattern_read(text, anchors, out);
    if (wrong != NULL) (void)luaL_error(L, "%s", wrong);
}

/* find and match are called with few patterns, over and over: those are kept as they
 * were read. They call nothing that could take the place of one in use. */
#define KEPT 32
#define KEPT_LEN 31

struct kept_patterns {
    struct { uint8_t len; char text[KEPT_LEN]; pattern p; } at[KEPT];
};

static const pattern *keep_pattern(lua_State *L, slice text, pattern *own)
{
    vm *v = vm_of(L);
    uint32_t hash = (uint32_t)text.len;

    if (text.len == 0 || text.len > KEPT_LEN) {
        read_pattern(L, text, true, own);
        return own;
    }
    for (size_t i = 0; i < text.len; i++) hash = hash * 31 + (unsigned char)text.ptr[i];
    if (v->patterns == NULL) v->patterns = arena_new(&v->own, struct kept_patterns);
    size_t slot = (hash ^ hash >> 16) % KEPT;
    pattern *p = &v->patterns->at[slot].p;
    if (v->patterns->at[slot].len == text.len && memcmp(v->patterns->at[slot].text, text.ptr, text.len) == 0)
        return p;
    v->patterns->at[slot].len = 0;       /* in case that this one is none */
    read_pattern(L, text, true, p);
    v->patterns->at[slot].len = (uint8_t)text.len;
    memcpy(v->patterns->at[slot].text, text.ptr, text.len);
    return p;
}

/* A match that is nowhere because the budget ended is no answer. */
static const char *match_or_raise(lua_State *L, match *m, const char *from)
{
    const char *end = match_at(m, from);
    if (m->spent) state_check(L);
    return end;
}

static void push_capture(lua_State *L, const match *m, int i, const char *from, const char *end)
{
    if (i == 0 && m->p->captures == 0) {
        lua_pushlstring(L, from, (size_t)(end - from));
        return;
    }
    const capture *c = &m->captures[i];
    if (c->len == CAPTURE_POSITION) lua_pushinteger(L, c->start - m->subject.ptr + 1);
    else lua_pushlstring(L, c->start, (size_t)c->len);
}

/* All captures, or the whole match if the pattern has none. */
static int push_captures(lua_State *L, const match *m, const char *from, const char *end, bool whole)
{
    int count = m->p->captures == 0 && whole ? 1 : m->p->captures;

    luaL_checkstack(L, count, "too many captures");
    for (int i = 0; i < count; i++) push_capture(L, m, i, from, end);
    return count;
}

/* Where to start: positions count from 1, negative ones from the end. False when
 * it is behind the subject. */
static bool start_at(lua_State *L, int index, size_t len, size_t *out)
{
    lua_Integer at = luaL_optinteger(L, index, 1);

    if (at < 0) at = at < -(lua_Integer)len ? 1 : (lua_Integer)len + at + 1;
    if (at == 0) at = 1;
    *out = (size_t)at - 1;
    return *out <= len;
}

static bool is_one_of(char c, const char *set) { return c != '\0' && strchr(set, c) != NULL; }

static bool is_plain(slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (is_one_of(text.ptr[i], "^$*+?.([%-")) return false;
    return true;
}

static int find_or_match(lua_State *L, bool find)
{
    slice s = check_slice(L, 1), text = check_slice(L, 2);
    size_t from;

    if (!start_at(L, 3, s.len, &from)) {
        lua_pushnil(L);
        return 1;
    }
    if (find && (lua_toboolean(L, 4) || is_plain(text))) {
        const char *hit = text.len == 0 ? s.ptr + from
                                        : memmem(s.ptr + from, s.len - from, text.ptr, text.len);
        if (hit == NULL) {
            lua_pushnil(L);
            return 1;
        }
        lua_pushinteger(L, hit - s.ptr + 1);
        lua_pushinteger(L, hit - s.ptr + (lua_Integer)text.len);
        return 2;
    }
    pattern own;
    const pattern *p = keep_pattern(L, text, &own);
    match m = { .p = p, .subject = s, .budget = &vm_of(L)->budget };
    for (const char *at = s.ptr + from;; at++) {
        if (!p->anchored) at = match_skip(&m, at);
        const char *end = match_or_raise(L, &m, at);
        if (end != NULL && !find) return push_captures(L, &m, at, end, true);
        if (end != NULL) {
            lua_pushinteger(L, at - s.ptr + 1);
            lua_pushinteger(L, end - s.ptr);
            return 2 + push_captures(L, &m, at, end, false);
        }
        if (p->anchored || at == s.ptr + s.len) break;
    }
    lua_pushnil(L);
    return 1;
}

static int string_find(lua_State *L) { return find_or_match(L, true); }
static int string_match(lua_State *L) { return find_or_match(L, false); }

/* Upvalues: subject, pattern, where to go on, the end of the last match (an empty
 * match is not taken at the end of the one before). Positions from 0. */
static int gmatch_step(lua_State *L)
{
    slice s, text;
    pattern p;

    s.ptr = lua_tolstring(L, lua_upvalueindex(1), &s.len);
    text.ptr = lua_tolstring(L, lua_upvalueindex(2), &text.len);
    lua_Integer from = lua_tointeger(L, lua_upvalueindex(3));
    lua_Integer last = lua_tointeger(L, lua_upvalueindex(4));
    read_pattern(L, text, false, &p);
    match m = { .p = &p, .subject = s, .budget = &vm_of(L)->budget };
    for (; from <= (lua_Integer)s.len; from++) {
        const char *at = s.ptr + from, *end = match_or_raise(L, &m, at);
        if (end == NULL || end - s.ptr == last) continue;
        lua_pushinteger(L, end - s.ptr);
        lua_copy(L, -1, lua_upvalueindex(3));
        lua_replace(L, lua_upvalueindex(4));
        return push_captures(L, &m, at, end, true);
    }
    return 0;
}

static int string_gmatch(lua_State *L)
{
    slice s = check_slice(L, 1), text = check_slice(L, 2);
    size_t from;
    pattern p;

    if (!start_at(L, 3, s.len, &from)) from = s.len + 1;
    read_pattern(L, text, false, &p);    /* its mistakes are found here, not in the loop */
    lua_settop(L, 2);
    lua_pushinteger(L, (lua_Integer)from);
    lua_pushinteger(L, -1);
    lua_pushcclosure(L, gmatch_step, 4);
    return 1;
}

/* %0 to %9 and %% in a replacement. */
static void add_template(lua_State *L, luaL_Buffer *out, const match *m, slice template,
                         const char *from, const char *end)
{
    for (size_t i = 0; i < template.len; i++) {
        char c = template.ptr[i];
        if (c != '%') {
            luaL_addchar(out, c);
            continue;
        }
        c = ++i < template.len ? template.ptr[i] : '\0';
        int number = c - '1';
        if (c == '%') {
            luaL_addchar(out, '%');
        } else if (c == '0') {
            luaL_addlstring(out, from, (size_t)(end - from));
        } else if (c < '1' || c > '9') {
            (void)luaL_error(L, "invalid use of '%%' in replacement string");
        } else if (number >= m->p->captures && number != 0) {
            (void)luaL_error(L, "invalid capture index %%%d in replacement string", number + 1);
        } else {
            push_capture(L, m, number, from, end);
            (void)luaL_tolstring(L, -1, NULL);
            lua_remove(L, -2);
            luaL_addvalue(out);
        }
    }
}

/* True when something was put in the match's place. */
static bool add_replacement(lua_State *L, luaL_Buffer *out, const match *m, const char *from,
                            const char *end)
{
    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(L, m, from, end, true), 1);
        break;
    case LUA_TTABLE:
        push_capture(L, m, 0, from, end);
        (void)lua_gettable(L, 3);
        break;
    default: {
        slice template;
        template.ptr = lua_tolstring(L, 3, &template.len);
        add_template(L, out, m, template, from, end);
        return true;
    }
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, from, (size_t)(end - from));
        return false;
    }
    if (!lua_isstring(L, -1))
        (void)luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
    return true;
}

static int string_gsub(lua_State *L)
{
    slice s = check_slice(L, 1), text = check_slice(L, 2);
    int type = lua_type(L, 3);
    lua_Integer limit = luaL_optinteger(L, 4, (lua_Integer)s.len + 1), count = 0;
    const char *at = s.ptr, *stop = s.ptr + s.len, *last = NULL;
    bool changed = false;
    luaL_Buffer out;
    pattern p;

    luaL_argexpected(L, type == LUA_TNUMBER || type == LUA_TSTRING || type == LUA_TFUNCTION ||
                     type == LUA_TTABLE, 3, "string/function/table");
    if (type == LUA_TNUMBER) (void)lua_tolstring(L, 3, NULL);
    read_pattern(L, text, true, &p);
    match m = { .p = &p, .subject = s, .budget = &vm_of(L)->budget };
    lua_settop(L, 3);
    luaL_buffinit(L, &out);
    while (count < limit) {
        const char *end = match_or_raise(L, &m, at);
        if (end != NULL && end != last) {
            count++;
            changed |= add_replacement(L, &out, &m, at, end);
            at = last = end;
        } else if (at < stop) {
            luaL_addchar(&out, *at++);
        } else {
            break;
        }
        if (p.anchored) break;
    }
    if (!changed) {
        lua_pushvalue(L, 1);
    } else {
        luaL_addlstring(&out, at, (size_t)(stop - at));
        luaL_pushresult(&out);
    }
    lua_pushinteger(L, count);
    return 2;
}

static int string_rep(lua_State *L)
{
    slice s = check_slice(L, 1), sep = { NULL, 0 };
    lua_Integer n = luaL_checkinteger(L, 2);
    vm *v = vm_of(L);
    luaL_Buffer out;

    sep.ptr = luaL_optlstring(L, 3, "", &sep.len);
    if (n <= 0 || s.len + sep.len == 0) {
        lua_pushliteral(L, "");
        return 1;
    }
    if ((lua_Unsigned)n > v->limits.memory / (s.len + sep.len)) {
        budget_spend(&v->budget, BUDGET_MEMORY);
        state_check(L);
    }
    size_t total = (size_t)n * (s.len + sep.len) - sep.len;
    char *at = luaL_buffinitsize(L, &out, total);
    for (lua_Integer i = 0; i < n; i++) {
        if (s.len > 0) memcpy(at, s.ptr, s.len);
        at += s.len;
        if (i + 1 == n || sep.len == 0) continue;
        memcpy(at, sep.ptr, sep.len);
        at += sep.len;
    }
    luaL_pushresultsize(&out, total);
    return 1;
}

/* Upvalue 1: Lua's own. What %s would show as an address becomes text before. */
static int string_format(lua_State *L)
{
    slice format = check_slice(L, 1);
    int arg = 1, top = lua_gettop(L);

    for (size_t i = 0; i < format.len; i++) {
        if (format.ptr[i] != '%') continue;
        if (++i < format.len && format.ptr[i] == '%') continue;
        while (i < format.len && is_one_of(format.ptr[i], "-+ #0123456789.")) i++;
        if (i == format.len) break;      /* Lua's own complains */
        if (format.ptr[i] == 'p') return luaL_error(L, "'%%p' is not for scripts: addresses differ");
        if (++arg > top || format.ptr[i] != 's') continue;
        if (lua_type(L, arg) == LUA_TSTRING || lua_type(L, arg) == LUA_TNUMBER) continue;
        (void)state_push_text(L, arg);
        lua_replace(L, arg);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, top, 1);
    return 1;
}

void lib_string_open(lua_State *L)
{
    static const luaL_Reg own[] = {
        { "find", string_find },     { "match", string_match }, { "gmatch", string_gmatch },
        { "gsub", string_gsub },     { "rep", string_rep },     { NULL, NULL }
    };

    luaL_setfuncs(L, own, 0);
    (void)lua_getfield(L, -1, "format");
    lua_pushcclosure(L, string_format, 1);
    lua_setfield(L, -2, "format");
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
}

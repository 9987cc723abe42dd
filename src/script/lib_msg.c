/* script/lib_msg.c -- require "hl7", and a message as a script sees it, read-only:
 *
 *   msg:get "PID-5.1"    text with escapes resolved; nil when absent or empty,
 *                        hl7.null for "". What the path leaves out is the first.
 *   msg:raw "PID-5"      as it was sent, all that the path names
 *   msg:one "PID"        the first segment of that name, or raises
 *   msg:first "PV1"      … or nil       msg:each "OBX", msg:segments()   iterators
 *   msg:has "ZPD"        segment, or path that holds something
 *   msg:copy { ["MSH-5"] = "X" }   a new message; tostring gives its bytes
 *   msg.type event version control_id received tenant connector timezone settings
 *
 *   hl7.parse(text)      a message from text
 *   hl7.clean(text)      without blanks around it; nil for "", nil and the null
 *   hl7.code(text)       the same, and one blank for several in a row
 *   hl7.part(value, n [, m])  component n (its subcomponent m) of a field's value, clean
 *
 * lib_segment.c has the segments. */
#include "base/clock.h"
#include "hl7/head.h"
#include "script/edit.h"
#include "script/segment.h"
#include "script/state.h"

void msg_push(lua_State *L, const hl7_msg *m)
{
    msg_box *box = lua_newuserdatauv(L, sizeof *box, 0);

    *box = (msg_box){ m, vm_of(L)->generation };
    luaL_setmetatable(L, MSG_TYPE);
}

static const hl7_msg *unbox(lua_State *L, int index, const msg_box *box)
{
    luaL_argcheck(L, box->generation == vm_of(L)->generation, index, "message used after its run ended");
    return box->msg;
}

const hl7_msg *msg_check(lua_State *L, int index)
{
    return unbox(L, index, luaL_checkudata(L, index, MSG_TYPE));
}

const hl7_msg *msg_test(lua_State *L, int index)
{
    const msg_box *box = luaL_testudata(L, index, MSG_TYPE);
    return box == NULL ? NULL : unbox(L, index, box);
}

/* ---- paths ------------------------------------------------------------------------- */

/* A script names its paths in literals, so each is parsed once and found again by
 * its Lua string, in the registry tables "paths" and "field paths". Paths that are
 * put together from data do not fill them without end. */
#define PATHS_KEPT 2048

static const hl7_path *path_keep(lua_State *L, int index, const char *cache, const hl7_path *path)
{
    hl7_path *kept = lua_newuserdatauv(L, sizeof *kept, 0);

    *kept = *path;
    (void)lua_getfield(L, LUA_REGISTRYINDEX, cache);
    (void)lua_rawgeti(L, -1, 0);         /* [0] counts */
    lua_Integer count = lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (count < PATHS_KEPT) {
        lua_pushvalue(L, index);
        lua_pushvalue(L, -3);
        lua_rawset(L, -3);
        lua_pushinteger(L, count + 1);
        lua_rawseti(L, -2, 0);
    }
    lua_pop(L, 1);                       /* the path stays on the stack, for this call */
    return kept;
}

static const hl7_path *path_cached(lua_State *L, int index, const char *cache)
{
    (void)lua_getfield(L, LUA_REGISTRYINDEX, cache);
    lua_pushvalue(L, index);
    (void)lua_rawget(L, -2);
    const hl7_path *kept = lua_touserdata(L, -1);
    lua_pop(L, 2);                       /* the table keeps it alive */
    return kept;
}

/* A bad path is the script's mistake and raises. */
const hl7_path *path_check(lua_State *L, int index)
{
    hl7_path path;
    err_info why;
    slice text;

    luaL_checktype(L, index, LUA_TSTRING);
    const hl7_path *kept = path_cached(L, index, "paths");
    if (kept != NULL) return kept;
    text.ptr = lua_tolstring(L, index, &text.len);
    if (hl7_path_parse(text, &path, &why) != ERR_OK) (void)luaL_argerror(L, index, why.text);
    return path_keep(L, index, "paths", &path);
}

const hl7_path *path_check_field(lua_State *L, int index)
{
    hl7_path path;
    err_info why;
    slice text;

    luaL_checktype(L, index, LUA_TSTRING);
    const hl7_path *kept = path_cached(L, index, "field paths");
    if (kept != NULL) return kept;
    text.ptr = lua_tolstring(L, index, &text.len);
    if (hl7_path_parse_field(text, "SEG", &path, &why) != ERR_OK) (void)luaL_argerror(L, index, why.text);
    return path_keep(L, index, "field paths", &path);
}

hl7_path path_leaf(lua_State *L, int index, const hl7_path *path)
{
    hl7_path leaf = *path;

    luaL_argcheck(L, leaf.field > 0, index, "the path names no field");
    luaL_argcheck(L, leaf.occ != HL7_EVERY && leaf.rep != HL7_EVERY, index,
                  "[*] names several values; use each or all");
    if (leaf.rep == 0) leaf.rep = 1;
    if (leaf.comp == 0) leaf.comp = 1;
    if (leaf.sub == 0) leaf.sub = 1;
    return leaf;
}

/* ---- methods ------------------------------------------------------------------------- */

static int msg_get(lua_State *L)
{
    const hl7_msg *m = msg_check(L, 1);
    hl7_path leaf = path_leaf(L, 2, path_check(L, 2));

    text_push(L, m, hl7_get(m, &leaf));
    return 1;
}

static int msg_raw(lua_State *L)
{
    const hl7_msg *m = msg_check(L, 1);
    slice raw = hl7_get(m, path_check(L, 2));

    if (raw.len == 0) lua_pushnil(L);
    else lua_pushlstring(L, raw.ptr, raw.len);
    return 1;
}

static const char *check_name(lua_State *L, int index)
{
    size_t len;
    const char *name = luaL_checklstring(L, index, &len);

    luaL_argcheck(L, len == 3, index, "a segment's name has three characters");
    return name;
}

static int msg_first(lua_State *L)
{
    const hl7_msg *m = msg_check(L, 1);
    size_t at = hl7_segment_find(m, check_name(L, 2), 1);

    if (at == SIZE_MAX) lua_pushnil(L);
    else segment_push(L, m, at);
    return 1;
}

static int msg_one(lua_State *L)
{
    (void)msg_first(L);
    if (lua_isnil(L, -1)) return luaL_error(L, "%s missing", lua_tostring(L, 2));
    return 1;
}

static int msg_has(lua_State *L)
{
    const hl7_msg *m = msg_check(L, 1);
    const hl7_path *path = path_check(L, 2);
    bool has = hl7_segment_find(m, path->seg, path->occ == HL7_EVERY ? 1 : path->occ) != SIZE_MAX;

    lua_pushboolean(L, has && (path->field == 0 || !value_is_empty(m, hl7_get(m, path))));
    return 1;
}

/* Upvalues: the message, the name or nil for every one, the next index. */
static int each_step(lua_State *L)
{
    const hl7_msg *m = msg_check(L, lua_upvalueindex(1));
    const char *name = lua_tostring(L, lua_upvalueindex(2));
    size_t at = (size_t)lua_tointeger(L, lua_upvalueindex(3)), count = hl7_segment_count(m);

    while (at < count && name != NULL && memcmp(hl7_segment_name(m, at).ptr, name, 3) != 0) at++;
    if (budget_step(&vm_of(L)->budget, 8)) state_check(L);
    if (at >= count) return 0;
    lua_pushinteger(L, (lua_Integer)at + 1);
    lua_replace(L, lua_upvalueindex(3));
    segment_push(L, m, at);
    return 1;
}

static int msg_each(lua_State *L)
{
    (void)msg_check(L, 1);
    (void)check_name(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, each_step, 3);
    return 1;
}

static int msg_segments(lua_State *L)
{
    (void)msg_check(L, 1);
    lua_settop(L, 1);
    lua_pushnil(L);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, each_step, 3);
    return 1;
}

/* msg:copy { [path] = text } -- in the order of the paths, so that the outcome does
 * not hang on the table's. A value is text, the null, or false to empty it. */
static int msg_copy(lua_State *L)
{
    vm *v = vm_of(L);
    const hl7_msg *m = msg_check(L, 1);
    err_info why;

    lua_settop(L, 2);
    message_edit e = { .mem = v->mem, .msg = m };
    if (!lua_isnil(L, 2)) {
        luaL_checktype(L, 2, LUA_TTABLE);
        lua_pushcfunction(L, order_pairs);
        lua_pushvalue(L, 2);
        lua_call(L, 1, 1);               /* the iterator is all it needs */
        for (;;) {
            lua_pushvalue(L, -1);
            lua_call(L, 0, 2);
            if (lua_isnil(L, -2)) break;
            int key = lua_gettop(L) - 1, value = lua_gettop(L);
            const hl7_path *path = path_check(L, key);
            slice text = SLICE_NONE;
            bool null = null_is(L, value);
            if (!null && lua_toboolean(L, value)) text = state_push_text(L, value);
            err code = null ? message_set_raw(&e, path, slice_lit("\"\""), &why)
                            : message_set(&e, path, text, &why);
            if (code != ERR_OK) return luaL_error(L, "copy: %s", why.text);
            state_check(L);
            lua_settop(L, key - 1);
        }
    }
    if (message_declare_utf8(&e, &why) != ERR_OK) return luaL_error(L, "copy: %s", why.text);
    state_check(L);
    msg_push(L, e.msg);
    return 1;
}

static int msg_tostring(lua_State *L)
{
    slice bytes = hl7_bytes(msg_check(L, 1));

    lua_pushlstring(L, bytes.ptr, bytes.len);
    return 1;
}

/* ---- what is known about it ------------------------------------------------------------ */

static void push_or_nil(lua_State *L, slice s)
{
    if (s.len == 0) lua_pushnil(L);
    else lua_pushlstring(L, s.ptr, s.len);
}

static void push_head(lua_State *L, const hl7_msg *m, slice name)
{
    vm *v = vm_of(L);
    hl7_head head;

    arena_reset(&v->scratch);
    hl7_head_read(m, &head);
    if (slice_is(name, "type")) push_or_nil(L, hl7_head_type(&v->scratch, &head));
    else if (slice_is(name, "event")) push_or_nil(L, head.event);
    else if (slice_is(name, "version")) push_or_nil(L, head.version);
    else push_or_nil(L, head.control_id);
}

static bool push_scope(lua_State *L, slice name)
{
    const vm *v = vm_of(L);
    char text[CLOCK_TEXT_LEN + 1];

    if (slice_is(name, "tenant")) push_or_nil(L, v->scope.tenant);
    else if (slice_is(name, "connector")) push_or_nil(L, v->scope.connector_name);
    else if (slice_is(name, "timezone")) push_or_nil(L, v->scope.timezone);
    else if (slice_is(name, "settings")) (void)lua_getfield(L, LUA_REGISTRYINDEX, "settings");
    else if (slice_is(name, "received"))
        lua_pushstring(L, clock_text(v->input != NULL ? v->input->received_us : 0, text));
    else return false;
    return true;
}

/* Upvalue 1: the methods. */
static int msg_index(lua_State *L)
{
    slice name;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    const hl7_msg *m = msg_check(L, 1);
    if (lua_type(L, 2) != LUA_TSTRING) return 1;
    name.ptr = lua_tolstring(L, 2, &name.len);
    if (push_scope(L, name)) return 1;
    if (slice_is(name, "type") || slice_is(name, "event") || slice_is(name, "version") ||
        slice_is(name, "control_id")) {
        push_head(L, m, name);
        return 1;
    }
    return luaL_error(L, "a message has no '%s'", name.ptr);
}

/* A message of nothing but line ends takes twelve bytes of index for each. */
#define PARSE_SHARE 16

void parse_check(lua_State *L, int index, slice text)
{
    size_t most = vm_of(L)->limits.memory / PARSE_SHARE;

    if (text.len > most)
        (void)luaL_argerror(L, index, lua_pushfstring(L, "a message of more than %I bytes", (LUAI_UACINT)most));
}

static int hl7_parse_text(lua_State *L)
{
    vm *v = vm_of(L);
    hl7_msg *m;
    err_info why;
    slice text;

    text.ptr = luaL_checklstring(L, 1, &text.len);
    parse_check(L, 1, text);
    if (utf8_valid(text) != text.len) return luaL_error(L, "hl7.parse: not UTF-8");
    state_check(L);
    if (hl7_parse(v->mem, arena_dup(v->mem, text), &m, &why) != ERR_OK)
        return luaL_error(L, "hl7.parse: %s", why.text);
    state_check(L);
    msg_push(L, m);
    return 1;
}

void lib_msg_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "get", msg_get },   { "raw", msg_raw },   { "one", msg_one },
        { "first", msg_first }, { "has", msg_has }, { "each", msg_each },
        { "segments", msg_segments }, { "copy", msg_copy }, { NULL, NULL }
    };
    static const luaL_Reg meta[] = { { "__tostring", msg_tostring }, { NULL, NULL } };
    static const luaL_Reg functions[] = {
        { "parse", hl7_parse_text }, { "clean", text_clean }, { "code", text_code },
        { "part", value_part },      { NULL, NULL }
    };

    box_type(L, MSG_TYPE, meta, NULL);
    (void)luaL_getmetatable(L, MSG_TYPE);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, msg_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    segment_open(L);
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "paths");
    lua_newtable(L);
    lua_setfield(L, LUA_REGISTRYINDEX, "field paths");

    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    null_push(L);
    lua_setfield(L, -2, "null");
}

/* script/lib_segment.c -- one segment of a message:
 *
 *   seg.name, seg.index  "OBX"; its place in the message, from 1
 *   seg:get "3[2].4"     text, as msg:get; also seg:get(8)
 *   seg:raw(5)           as it was sent
 *   seg:field(3)         the field as a value, nil when empty
 *   seg:all(3)           iterator over the repetitions that are not empty
 *   seg:all(3, f)        array of f(repetition); nil when nothing came of it
 *   seg:one(3, f)        f(first repetition), or nil
 *   seg:count(3)         of repetitions, the empty ones too
 *   seg:present()        a number whose bit n says that field n is there, for 1 to 62 */
#include "script/segment.h"

typedef struct segment_box {
    const hl7_msg *msg;
    uint64_t       generation;
    size_t         index;
} segment_box;

void segment_push(lua_State *L, const hl7_msg *m, size_t index)
{
    vm *v = vm_of(L);
    segment_box *box = box_new(L, &v->segments, sizeof *box);

    *box = (segment_box){ m, v->generation, index };
}

static const segment_box *check_segment(lua_State *L, int index)
{
    const vm *v = vm_of(L);
    const segment_box *box = box_check(L, index, &v->segments, SEGMENT_TYPE);

    luaL_argcheck(L, box->generation == v->generation, index, "segment used after its run ended");
    return box;
}

static uint16_t check_field(lua_State *L, int index)
{
    lua_Integer n = luaL_checkinteger(L, index);

    luaL_argcheck(L, n >= 1 && n < UINT16_MAX, index, "fields count from 1");
    return (uint16_t)n;
}

static int segment_get(lua_State *L)
{
    const segment_box *box = check_segment(L, 1);
    hl7_path leaf = { .occ = 1, .rep = 1, .comp = 1, .sub = 1 };

    if (lua_type(L, 2) == LUA_TNUMBER) leaf.field = check_field(L, 2);
    else leaf = path_leaf(L, 2, path_check_field(L, 2));
    text_push(L, box->msg, hl7_get_in(box->msg, box->index, &leaf));
    return 1;
}

static int segment_raw(lua_State *L)
{
    const segment_box *box = check_segment(L, 1);
    slice raw;

    if (lua_type(L, 2) == LUA_TNUMBER) raw = hl7_field(box->msg, box->index, check_field(L, 2));
    else if (lua_isnoneornil(L, 2)) raw = hl7_segment_bytes(box->msg, box->index);
    else raw = hl7_get_in(box->msg, box->index, path_check_field(L, 2));
    if (raw.len == 0) lua_pushnil(L);
    else lua_pushlstring(L, raw.ptr, raw.len);
    return 1;
}

static int segment_field(lua_State *L)
{
    const segment_box *box = check_segment(L, 1);

    field_push(L, box->msg, box->index, check_field(L, 2));
    return 1;
}

static int segment_count(lua_State *L)
{
    const segment_box *box = check_segment(L, 1);
    uint16_t field = check_field(L, 2);
    slice raw = hl7_field(box->msg, box->index, field);
    bool opaque = box->index == 0 && field <= 2;

    lua_pushinteger(L, opaque ? 1 : (lua_Integer)hl7_part_count(raw, hl7_delims_of(box->msg)->repetition));
    return 1;
}

/* One call instead of one for each row of a segment's map. */
#define PRESENT_MAX 62

static int segment_present(lua_State *L)
{
    const segment_box *box = check_segment(L, 1);
    size_t count = hl7_field_count(box->msg, box->index);
    lua_Unsigned bits = 0;

    for (size_t n = 1; n <= count && n <= PRESENT_MAX; n++)
        if (hl7_field(box->msg, box->index, n).len > 0) bits |= (lua_Unsigned)1 << n;
    lua_pushinteger(L, (lua_Integer)bits);
    return 1;
}

/* ---- repetitions ------------------------------------------------------------------------ */

typedef struct walk {
    const hl7_msg *msg;
    slice          rest;
    uint64_t       generation;
    bool           opaque;
} walk;

static walk walk_of(lua_State *L, const segment_box *box, uint16_t field)
{
    return (walk){ box->msg, hl7_field(box->msg, box->index, field), vm_of(L)->generation,
                   box->index == 0 && field <= 2 };
}

/* The next repetition that is not empty. */
static bool walk_next(walk *w, slice *rep)
{
    char separator = hl7_delims_of(w->msg)->repetition;

    while (w->rest.ptr != NULL) {
        if (w->opaque || separator == 0) {
            *rep = w->rest;
            w->rest = SLICE_NONE;
        } else {
            *rep = slice_cut(w->rest, separator, &w->rest);
        }
        if (w->opaque || !value_is_empty(w->msg, *rep)) return true;
    }
    return false;
}

static int all_step(lua_State *L)
{
    walk *w = lua_touserdata(L, lua_upvalueindex(1));
    slice rep;

    if (w->generation != vm_of(L)->generation) return luaL_error(L, "field used after its run ended");
    if (!walk_next(w, &rep)) return 0;
    value_push(L, w->msg, rep, VALUE_REPETITION, w->opaque);
    return 1;
}

static int segment_all(lua_State *L)
{
    const segment_box *box = check_segment(L, 1);
    walk w = walk_of(L, box, check_field(L, 2));
    lua_Integer n = 0;
    slice rep;

    lua_settop(L, 3);
    if (lua_isnil(L, 3)) {
        *(walk *)lua_newuserdatauv(L, sizeof w, 0) = w;
        lua_pushcclosure(L, all_step, 1);
        return 1;
    }
    while (walk_next(&w, &rep)) {
        lua_pushvalue(L, 3);
        value_push(L, w.msg, rep, VALUE_REPETITION, w.opaque);
        lua_call(L, 1, 1);
        if (lua_isnil(L, -1)) {
            lua_pop(L, 1);
            continue;
        }
        if (n == 0) {
            lua_newtable(L);
            lua_insert(L, -2);
        }
        lua_rawseti(L, -2, ++n);
    }
    if (n == 0) lua_pushnil(L);
    return 1;
}

static int segment_one(lua_State *L)
{
    const segment_box *box = check_segment(L, 1);
    walk w = walk_of(L, box, check_field(L, 2));
    slice rep;

    luaL_checkany(L, 3);
    lua_settop(L, 3);
    if (!walk_next(&w, &rep)) {
        lua_pushnil(L);
        return 1;
    }
    value_push(L, w.msg, rep, VALUE_REPETITION, w.opaque);
    lua_call(L, 1, 1);
    return 1;
}

/* Upvalue 1: the methods. */
static int segment_index(lua_State *L)
{
    slice name;

    lua_pushvalue(L, 2);
    if (lua_rawget(L, lua_upvalueindex(1)) != LUA_TNIL) return 1;
    const segment_box *box = check_segment(L, 1);
    name.ptr = luaL_checklstring(L, 2, &name.len);
    if (slice_is(name, "name")) {
        slice own = hl7_segment_name(box->msg, box->index);
        lua_pushlstring(L, own.ptr, own.len);
    } else if (slice_is(name, "index")) {
        lua_pushinteger(L, (lua_Integer)box->index + 1);
    } else {
        return luaL_error(L, "a segment has no '%s'", name.ptr);
    }
    return 1;
}

void segment_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "get", segment_get }, { "raw", segment_raw }, { "field", segment_field },
        { "all", segment_all }, { "one", segment_one }, { "count", segment_count },
        { "present", segment_present }, { NULL, NULL }
    };

    box_type(L, SEGMENT_TYPE, NULL, NULL);
    (void)luaL_getmetatable(L, SEGMENT_TYPE);
    luaL_newlib(L, methods);
    lua_pushcclosure(L, segment_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pop(L, 1);
    vm_of(L)->segments = box_kind_of(L, SEGMENT_TYPE);
}

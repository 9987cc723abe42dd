/* script/lib_out.c -- what a script wants to happen:
 *
 *   out:put(resource [, { to=, owned=, if_none_exist=, full_url= }])
 *   out:put(bundle [, { to= }])     each of bundle.entries: resource, full_url, owned,
 *                                   if_none_exist, to
 *   out:hl7(connector, message or text)
 *   out:event(type [, data])
 *   out:refuse(reason)              a negative end, on purpose
 *   out:skip(reason)                nothing to do
 *
 * After refuse or skip nothing is delivered, whatever was put; events are sent.
 *
 * A resource is taken as it is at that moment. Put again, to another service, it
 * keeps what was said of it the first time.
 *
 * Beside the bytes of all (vm_limits), their number is bounded: each event is a row
 * and travels alone, and each resource is an entry that others look for. */
#include <stdlib.h>

#include "crypt/uuid.h"
#include "script/state.h"

enum { RESOURCES_MAX = 5000, MESSAGES_MAX = 1000, EVENTS_MAX = 1000, EVENT_DATA_MAX = 64 << 10,
       OPTION_MAX = 4096 };

typedef struct out_box { uint64_t generation; } out_box;

void out_push(lua_State *L)
{
    out_box *box = lua_newuserdatauv(L, sizeof *box, 0);

    box->generation = vm_of(L)->generation;
    luaL_setmetatable(L, OUT_TYPE);
    lua_newtable(L);                     /* resource table -> its script_resource, of this run */
    lua_setfield(L, LUA_REGISTRYINDEX, "put");
}

static vm *check_out(lua_State *L)
{
    const out_box *box = luaL_checkudata(L, 1, OUT_TYPE);
    vm *v = vm_of(L);

    luaL_argcheck(L, box->generation == v->generation && v->result.to != NULL, 1,
                  "out used after its run ended");
    return v;
}

static slice keep_text(lua_State *L, int index)
{
    vm *v = vm_of(L);
    slice text;

    text.ptr = luaL_checklstring(L, index, &text.len);
    if (utf8_valid(text) != text.len) (void)luaL_argerror(L, index, "not UTF-8");
    state_output(L, text.len);
    return arena_dup(v->mem, text);
}

/* ---- resources -------------------------------------------------------------------------- */

/* The text option `name` of the table at `t`; SLICE_NONE when it is not there. They are
 * parts of a request: a line end or a NUL in one is an attempt to add to it. */
static slice option_text(lua_State *L, int t, const char *name)
{
    slice text = SLICE_NONE;
    int type = lua_getfield(L, t, name);

    if (type == LUA_TSTRING) text = keep_text(L, lua_gettop(L));
    else if (type != LUA_TNIL) (void)luaL_error(L, "out:put: '%s' is no text", name);
    if (text.len > OPTION_MAX) (void)luaL_error(L, "out:put: '%s' of more than %d bytes", name, OPTION_MAX);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            (void)luaL_error(L, "out:put: a control character in '%s'", name);
    lua_pop(L, 1);
    return text;
}

static void read_options(lua_State *L, int t, script_resource *r)
{
    slice text;
    int type;

    if ((text = option_text(L, t, "to")).len > 0) r->to = text;
    if ((text = option_text(L, t, "full_url")).len > 0) {
        if (!slice_starts(text, slice_lit("urn:uuid:")) && !slice_starts(text, slice_lit("http")))
            (void)luaL_error(L, "out:put: full_url is no urn:uuid: or http URL");
        r->full_url = text;
    }
    if ((text = option_text(L, t, "if_none_exist")).len > 0) {
        if (text.ptr[0] == '?' || memchr(text.ptr, '=', text.len) == NULL)
            (void)luaL_error(L, "out:put: if_none_exist is no search such as identifier=sys%%7Cvalue");
        r->if_none_exist = text;
    }
    type = lua_getfield(L, t, "owned");
    if (type == LUA_TBOOLEAN) r->owned = lua_toboolean(L, -1) != 0;
    else if (type != LUA_TNIL) (void)luaL_error(L, "out:put: 'owned' is neither true nor false");
    lua_pop(L, 1);
}

/* A misspelt option would go unnoticed. */
static void check_option_names(lua_State *L, int t)
{
    static const char *const known[] = { "to", "owned", "if_none_exist", "full_url" };

    for (lua_pushnil(L); lua_next(L, t) != 0; lua_pop(L, 1)) {
        size_t i = 0;
        while (i < countof(known) && (lua_type(L, -2) != LUA_TSTRING ||
                                      strcmp(lua_tostring(L, -2), known[i]) != 0)) i++;
        if (i < countof(known)) continue;
        lua_pushvalue(L, -2);
        (void)luaL_error(L, "out:put: no option '%s'", state_push_text(L, -1).ptr);
    }
}

static bool is_type_name(slice s)
{
    bool good = s.len > 0 && s.len <= 64 && s.ptr[0] >= 'A' && s.ptr[0] <= 'Z';

    for (size_t i = 0; good && i < s.len; i++)
        good = (s.ptr[i] | 32) >= 'a' && (s.ptr[i] | 32) <= 'z';
    return good;
}

/* The same input gives the same: message, and how many were put before it. */
static slice default_url(vm *v, size_t ordinal)
{
    char uuid[UUID_LEN + 1];
    slice id = v->input != NULL ? v->input->message_id : SLICE_NONE;
    slice name = arena_printf(&v->scratch, "resource\n%.*s\n%.*s\n%.*s\n%zu",
                              (int)v->scope.tenant.len, v->scope.tenant.ptr,
                              (int)v->scope.connector_name.len, v->scope.connector_name.ptr,
                              (int)id.len, id.ptr, ordinal);

    return arena_printf(v->mem, "urn:uuid:%s", uuid5(UUID_INTEROP, name, uuid));
}

/* Found in a table, so that putting many stays linear. */
static void refuse_twice(lua_State *L, const script_resource *r)
{
    (void)lua_getfield(L, LUA_REGISTRYINDEX, "put");
    lua_pushfstring(L, "%s %s", r->to.ptr == NULL ? "" : r->to.ptr, r->full_url.ptr);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) != LUA_TNIL) (void)luaL_error(L, "out:put: this %s was put before", r->type.ptr);
    lua_pop(L, 1);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pop(L, 1);
}

/* Puts the resource at `index`; options from the tables at `entry` and `opts`, 0
 * for none. */
static void put_resource(lua_State *L, int index, int entry, int opts)
{
    vm *v = vm_of(L);
    run_result *run = &v->result;
    script_resource *r = arena_new(v->mem, script_resource);
    slice type;

    if (run->to->resource_count == RESOURCES_MAX)
        (void)luaL_error(L, "out:put: more than %d resources of one message", RESOURCES_MAX);
    if (lua_type(L, index) != LUA_TTABLE)
        (void)luaL_error(L, "out:put: a %s is no resource", luaL_typename(L, index));
    lua_pushliteral(L, "resourceType");
    if (lua_rawget(L, index) != LUA_TSTRING) (void)luaL_error(L, "out:put: a table without resourceType");
    type.ptr = lua_tolstring(L, -1, &type.len);
    if (!is_type_name(type)) (void)luaL_error(L, "out:put: resourceType is no FHIR type");
    r->type = arena_dup(v->mem, type);
    lua_pop(L, 1);

    (void)lua_getfield(L, LUA_REGISTRYINDEX, "put");
    lua_pushvalue(L, index);
    if (lua_rawget(L, -2) == LUA_TLIGHTUSERDATA) {
        const script_resource *before = lua_touserdata(L, -1);
        r->full_url = before->full_url;
        r->if_none_exist = before->if_none_exist;
        r->owned = before->owned;
    }
    lua_pop(L, 2);
    if (entry > 0) read_options(L, entry, r);
    if (opts > 0) read_options(L, opts, r);
    r->resource = json_from_lua(L, index, JSON_RESOURCE, v->mem, r->type.ptr);
    if (r->full_url.len == 0) r->full_url = default_url(v, run->to->resource_count);
    refuse_twice(L, r);

    (void)lua_getfield(L, LUA_REGISTRYINDEX, "put");
    lua_pushvalue(L, index);
    lua_pushlightuserdata(L, r);
    lua_rawset(L, -3);
    lua_pop(L, 1);
    *run->resource_end = r;
    run->resource_end = &r->next;
    run->to->resource_count++;
}

static int out_put(lua_State *L)
{
    int opts = lua_isnoneornil(L, 3) ? 0 : 3;

    (void)check_out(L);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 3);
    if (opts > 0) {
        luaL_checktype(L, 3, LUA_TTABLE);
        check_option_names(L, 3);
    }
    lua_pushliteral(L, "resourceType");
    if (lua_rawget(L, 2) != LUA_TNIL || lua_getfield(L, 2, "entries") == LUA_TNIL) {
        put_resource(L, 2, 0, opts);
        return 0;
    }
    luaL_checktype(L, 5, LUA_TTABLE);    /* 4 is nil, 5 the entries */
    for (lua_Integer i = 1; lua_geti(L, 5, i) != LUA_TNIL; i++) {
        luaL_checktype(L, 6, LUA_TTABLE);
        (void)lua_getfield(L, 6, "resource");
        put_resource(L, 7, 6, opts);
        lua_settop(L, 5);
    }
    return 0;
}

/* ---- the rest ------------------------------------------------------------------------------ */

static int out_hl7(lua_State *L)
{
    vm *v = check_out(L);
    script_hl7 *h = arena_new(v->mem, script_hl7);
    hl7_msg *parsed;
    err_info why;

    if (v->result.to->hl7_count == MESSAGES_MAX)
        return luaL_error(L, "out:hl7: more than %d messages of one message", MESSAGES_MAX);
    h->connector = keep_text(L, 2);
    luaL_argcheck(L, h->connector.len > 0, 2, "no connector's name");
    const hl7_msg *m = msg_test(L, 3);
    if (m != NULL) {
        state_output(L, hl7_bytes(m).len);
        h->bytes = arena_dup(v->mem, hl7_bytes(m));
    } else {
        h->bytes = keep_text(L, 3);
        parse_check(L, 3, h->bytes);
        if (hl7_parse(v->mem, h->bytes, &parsed, &why) != ERR_OK)
            return luaL_error(L, "out:hl7: %s", why.text);
    }
    state_check(L);
    *v->result.hl7_end = h;
    v->result.hl7_end = &h->next;
    v->result.to->hl7_count++;
    return 0;
}

/* Event types become parts of subjects: words of letters, digits, _ and -, with dots. */
static bool is_event_type(slice s)
{
    bool word = false;

    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i], lower = (char)(c | 32);
        bool inner = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
        if (!inner && !(c == '.' && word)) return false;
        word = inner;
    }
    return word && s.len <= 128;
}

static int out_event(lua_State *L)
{
    vm *v = check_out(L);
    script_event *e = arena_new(v->mem, script_event);

    if (v->result.to->event_count == EVENTS_MAX)
        return luaL_error(L, "out:event: more than %d events of one message", EVENTS_MAX);
    e->type = keep_text(L, 2);
    luaL_argcheck(L, is_event_type(e->type), 2, "an event's type is words with dots between");
    size_t before = v->result.bytes;
    if (!lua_isnoneornil(L, 3)) e->data = json_from_lua(L, 3, JSON_PLAIN, v->mem, "event");
    if (v->result.bytes - before > EVENT_DATA_MAX)
        return luaL_error(L, "out:event: more than %d KiB of data", EVENT_DATA_MAX >> 10);
    *v->result.event_end = e;
    v->result.event_end = &e->next;
    v->result.to->event_count++;
    return 0;
}

static int out_refuse(lua_State *L)
{
    vm *v = check_out(L);

    v->result.to->reason = keep_text(L, 2);
    v->result.to->refused = true;
    v->result.to->skipped = false;
    return 0;
}

static int out_skip(lua_State *L)
{
    vm *v = check_out(L);

    if (v->result.to->refused) return luaL_error(L, "out:skip: the message was refused before");
    v->result.to->reason = keep_text(L, 2);
    v->result.to->skipped = true;
    return 0;
}

void lib_out_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "put", out_put },       { "hl7", out_hl7 }, { "event", out_event },
        { "refuse", out_refuse }, { "skip", out_skip }, { NULL, NULL }
    };

    box_type(L, OUT_TYPE, NULL, methods);
}

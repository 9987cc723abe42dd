/* script/lib_value.c -- a field, one repetition of it, or a component, as a datatype
 * function gets it:
 *
 *   value:get(n [, m])   component n (its subcomponent m) as text; of a component,
 *                        subcomponent n. nil when empty, hl7.null for ""
 *   value:sub(n)         component n as a value of its own, nil when empty
 *   value:unpack(n [, m])  the first n components, or subcomponents of component m,
 *                        as n results: text without blanks around it, else nil, for
 *                        "" too
 *   value:text()         the whole first component
 *   value:raw()          as it was sent
 *   value:count()        of repetitions
 *   value:is_null()      "" was sent
 *   value:is_empty()     nothing, or nothing but separators
 *
 * A box points into the message and remembers its run: used in a later one it
 * raises, where it would read freed memory. */
#include "hl7/text.h"
#include "script/state.h"
#include "script/value.h"

void text_push(lua_State *L, const hl7_msg *m, slice raw)
{
    vm *v = vm_of(L);

    if (raw.len == 0) {
        lua_pushnil(L);
    } else if (hl7_is_null(raw)) {
        null_push(L);
    } else if (memchr(raw.ptr, hl7_delims_of(m)->escape, raw.len) == NULL) {
        lua_pushlstring(L, raw.ptr, raw.len);
    } else {
        arena_reset(&v->scratch);
        slice text = hl7_unescape(&v->scratch, m, raw);
        if (text.len == 0) lua_pushnil(L);
        else lua_pushlstring(L, text.ptr, text.len);
    }
}

void value_push(lua_State *L, const hl7_msg *m, slice raw, value_level level, bool opaque)
{
    vm *v = vm_of(L);
    value_box *box = box_new(L, &v->values, sizeof *box);

    *box = (value_box){ m, raw, v->generation, level, opaque };
}

void field_push(lua_State *L, const hl7_msg *m, size_t segment, size_t field)
{
    slice raw = hl7_field(m, segment, field);

    if (raw.len == 0) lua_pushnil(L);
    else value_push(L, m, raw, VALUE_FIELD, segment == 0 && field <= 2);
}

bool value_is_empty(const hl7_msg *m, slice raw)
{
    const hl7_delims *d = hl7_delims_of(m);

    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.ptr[i];
        if (c != d->component && c != d->subcomponent && c != d->repetition) return false;
    }
    return true;
}

static const value_box *check_value(lua_State *L)
{
    const vm *v = vm_of(L);
    const value_box *box = box_check(L, 1, &v->values, VALUE_TYPE);

    luaL_argcheck(L, box->generation == v->generation, 1, "field used after its run ended");
    return box;
}

/* The repetition that is meant: of a whole field the first. */
static slice repetition_of(const value_box *box)
{
    if (box->level != VALUE_FIELD || box->opaque) return box->raw;
    return hl7_part(box->raw, hl7_delims_of(box->msg)->repetition, 1);
}

static slice part_of(const value_box *box, size_t comp, size_t sub)
{
    const hl7_delims *d = hl7_delims_of(box->msg);

    if (box->opaque) return comp == 1 && sub <= 1 ? box->raw : SLICE_NONE;
    if (box->level == VALUE_COMPONENT) return hl7_part(box->raw, d->subcomponent, comp);
    slice component = hl7_part(repetition_of(box), d->component, comp);
    return sub == 0 ? component : hl7_part(component, d->subcomponent, sub);
}

static size_t check_number(lua_State *L, int index)
{
    lua_Integer n = luaL_checkinteger(L, index);

    luaL_argcheck(L, n >= 1 && n < UINT16_MAX, index, "components count from 1");
    return (size_t)n;
}

static int value_get(lua_State *L)
{
    const value_box *box = check_value(L);
    size_t comp = luaL_opt(L, check_number, 2, 1), sub = luaL_opt(L, check_number, 3, 1);

    luaL_argcheck(L, box->level != VALUE_COMPONENT || lua_isnoneornil(L, 3), 3,
                  "a component has only subcomponents");
    text_push(L, box->msg, part_of(box, comp, sub));
    return 1;
}

#define UNPACK_MAX 64

/* What %s matches. */
static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static slice trimmed(slice s)
{
    while (s.len > 0 && is_space(s.ptr[0])) s = slice_from(s, 1);
    while (s.len > 0 && is_space(s.ptr[s.len - 1])) s.len--;
    return s;
}

/* Text as text_push gives it, without the blanks that senders pad with; nil for the
 * null, which within a datatype says no more than that there is nothing. */
static void push_trimmed(lua_State *L, const hl7_msg *m, slice raw, bool escaped)
{
    vm *v = vm_of(L);

    if (raw.len == 0 || hl7_is_null(raw)) {
        lua_pushnil(L);
        return;
    }
    if (escaped) {
        arena_reset(&v->scratch);
        raw = hl7_unescape(&v->scratch, m, raw);
    }
    raw = trimmed(raw);
    if (raw.len == 0) lua_pushnil(L);
    else lua_pushlstring(L, raw.ptr, raw.len);
}

/* Pushes the first `n` parts of `whole`; of a part with subparts the first of them.
 * A mark of 0 separates nothing. */
static void push_parts(lua_State *L, const hl7_msg *m, slice whole, int n, char mark, char submark)
{
    const char *at = whole.ptr, *end = at == NULL ? NULL : at + whole.len;
    char escape = hl7_delims_of(m)->escape;

    for (; n > 0 && at != NULL; n--) {
        const char *from = at, *part_end = NULL;
        bool escaped = false;
        for (; at < end && (*at != mark || mark == 0); at++) {
            if (part_end != NULL) continue;
            if (*at == escape) escaped = true;
            else if (*at == submark && submark != 0) part_end = at;
        }
        if (part_end == NULL) part_end = at;
        push_trimmed(L, m, (slice){ from, (size_t)(part_end - from) }, escaped);
        at = at < end ? at + 1 : NULL;
    }
    for (; n > 0; n--) lua_pushnil(L);
}

static int value_unpack(lua_State *L)
{
    const value_box *box = check_value(L);
    const hl7_delims *d = hl7_delims_of(box->msg);
    lua_Integer n = luaL_checkinteger(L, 2);
    bool all = lua_isnoneornil(L, 3);
    slice whole = all ? repetition_of(box) : part_of(box, check_number(L, 3), 0);

    luaL_argcheck(L, n >= 1 && n <= UNPACK_MAX, 2, "1 to 64 components");
    luaL_argcheck(L, box->level != VALUE_COMPONENT || all, 3, "a component has only subcomponents");
    luaL_checkstack(L, (int)n, "too many components");
    if (box->opaque) push_parts(L, box->msg, whole, (int)n, 0, 0);
    else if (box->level == VALUE_COMPONENT || !all) push_parts(L, box->msg, whole, (int)n, d->subcomponent, 0);
    else push_parts(L, box->msg, whole, (int)n, d->component, d->subcomponent);
    return (int)n;
}

/* hl7.part(value, n [, m]) -- component n (its subcomponent m) as unpack gives it. */
int value_part(lua_State *L)
{
    const value_box *box = check_value(L);
    size_t comp = luaL_opt(L, check_number, 2, 1), part = luaL_opt(L, check_number, 3, 1);
    char escape = hl7_delims_of(box->msg)->escape;

    luaL_argcheck(L, box->level != VALUE_COMPONENT || lua_isnoneornil(L, 3), 3,
                  "a component has only subcomponents");
    slice raw = part_of(box, comp, part);
    push_trimmed(L, box->msg, raw, raw.len > 0 && memchr(raw.ptr, escape, raw.len) != NULL);
    return 1;
}

/* The text at 1 without blanks around it; SLICE_NONE, and nil pushed, for nothing
 * and for the null. */
static slice clean_text(lua_State *L)
{
    slice text = SLICE_NONE, out;

    lua_settop(L, 1);
    if (!lua_isnil(L, 1) && !null_is(L, 1)) text.ptr = luaL_checklstring(L, 1, &text.len);
    out = trimmed(text);
    if (out.len == 0) lua_pushnil(L);
    else if (out.len < text.len) lua_pushlstring(L, out.ptr, out.len);
    return out;
}

/* hl7.clean(text) -- the result is on the top: the text itself, if it was clean. */
int text_clean(lua_State *L)
{
    (void)clean_text(L);
    return 1;
}

/* hl7.code(text) -- as FHIR's code wants it (R4 2.24.0.1): where there are blanks in a
 * row, one for each run of them. */
int text_code(lua_State *L)
{
    slice text = clean_text(L);
    bool doubled = false;
    luaL_Buffer out;

    for (size_t i = 1; i < text.len && !doubled; i++)
        doubled = is_space(text.ptr[i]) && is_space(text.ptr[i - 1]);
    if (!doubled) return 1;
    luaL_buffinit(L, &out);
    for (size_t i = 0; i < text.len; i++) {
        if (!is_space(text.ptr[i])) luaL_addchar(&out, text.ptr[i]);
        else if (!is_space(text.ptr[i - 1])) luaL_addchar(&out, ' ');
    }
    luaL_pushresult(&out);
    return 1;
}

static int value_sub(lua_State *L)
{
    const value_box *box = check_value(L);
    slice raw = part_of(box, check_number(L, 2), 0);

    if (value_is_empty(box->msg, raw)) lua_pushnil(L);
    else value_push(L, box->msg, raw, VALUE_COMPONENT, box->opaque);
    return 1;
}

static int value_text(lua_State *L)
{
    const value_box *box = check_value(L);

    text_push(L, box->msg, box->level == VALUE_COMPONENT ? box->raw : part_of(box, 1, 0));
    return 1;
}

static int value_raw(lua_State *L)
{
    const value_box *box = check_value(L);

    lua_pushlstring(L, box->raw.ptr, box->raw.len);
    return 1;
}

static int value_count(lua_State *L)
{
    const value_box *box = check_value(L);
    bool one = box->level != VALUE_FIELD || box->opaque;

    lua_pushinteger(L, one ? 1 : (lua_Integer)hl7_part_count(box->raw, hl7_delims_of(box->msg)->repetition));
    return 1;
}

static int value_is_null(lua_State *L)
{
    lua_pushboolean(L, hl7_is_null(repetition_of(check_value(L))));
    return 1;
}

static int value_empty(lua_State *L)
{
    const value_box *box = check_value(L);

    lua_pushboolean(L, !box->opaque && value_is_empty(box->msg, box->raw));
    return 1;
}

void lib_value_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        { "get", value_get },     { "sub", value_sub },         { "unpack", value_unpack },
        { "text", value_text },   { "raw", value_raw },         { "count", value_count },
        { "is_null", value_is_null }, { "is_empty", value_empty }, { NULL, NULL }
    };

    box_type(L, VALUE_TYPE, NULL, methods);
    vm_of(L)->values = box_kind_of(L, VALUE_TYPE);
}

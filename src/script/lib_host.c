/* script/lib_host.c -- require "host": what a mapping needs and Lua lacks.
 *
 *   host.uuid5(name)        UUID version 5 in Interop's namespace
 *   host.decimal(text)      a number written to JSON exactly as the text
 *   host.null               marks an element to be deleted; the same as hl7.null
 *   host.table(name)        code table: t[code] is a row or nil, row[column] text or nil
 *   host.date(ts)           HL7 date or time as a FHIR date
 *   host.datetime(ts [, offset])   … as a FHIR dateTime; "cut" as second result when
 *                           it was cut to the date because no offset is known
 *   host.instant(ts [, offset])    … as a FHIR instant, nil when it cannot be one
 *   host.time(tm)           HL7 time as a FHIR time
 *
 * Dates that are none give nil and the reason; nil gives nil, null gives null. */
#include "crypt/uuid.h"
#include "script/hl7_time.h"
#include "script/pack_inside.h"
#include "script/state.h"

/* What is hashed in one go, with no look at the budget. */
#define UUID_NAME_MAX ((size_t)1 << 20)

static int host_uuid5(lua_State *L)
{
    char out[UUID_LEN + 1];
    slice name;

    name.ptr = luaL_checklstring(L, 1, &name.len);
    luaL_argcheck(L, name.len <= UUID_NAME_MAX, 1, "a name of more than 1 MiB");
    lua_pushstring(L, uuid5(UUID_INTEROP, name, out));
    return 1;
}

static int host_decimal(lua_State *L)
{
    slice text;

    text.ptr = luaL_checklstring(L, 1, &text.len);
    if (!decimal_valid(text)) return luaL_error(L, "host.decimal: not a number as JSON has it");
    decimal_push(L, text);
    return 1;
}

/* ---- dates -------------------------------------------------------------------------------- */

/* True when the argument was none or null, and is pushed as the result. */
static bool passed_on(lua_State *L)
{
    if (!lua_isnoneornil(L, 1) && !null_is(L, 1)) return false;
    lua_settop(L, 1);
    return true;
}

static int no_date(lua_State *L, const char *reason)
{
    lua_pushnil(L);
    lua_pushstring(L, reason);
    return 2;
}

static slice check_text(lua_State *L, int index)
{
    slice text;
    text.ptr = luaL_checklstring(L, index, &text.len);
    return slice_trim(text);
}

/* MSH-7's offset, kept for the run. */
static bool message_offset(vm *v, int *minutes)
{
    static const hl7_path written = { .seg = "MSH", .occ = 1, .field = 7, .rep = 1, .comp = 1, .sub = 1 };

    if (v->input == NULL) return false;
    slice time = hl7_get(v->input->msg, &written);
    return time.len > 5 && hl7_offset_read(slice_from(time, time.len - 5), minutes);
}

/* The offset that a time without one has (argument 2, MSH-7, the zone). */
static void find_offset(lua_State *L, hl7_time *t)
{
    vm *v = vm_of(L);

    if (t->hour < 0 || t->has_offset) return;
    t->has_offset = true;
    if (!lua_isnoneornil(L, 2)) {
        luaL_argcheck(L, hl7_offset_read(check_text(L, 2), &t->offset), 2, "no offset such as +0100");
    } else if (!message_offset(v, &t->offset)) {
        t->has_offset = v->zone != NULL;
        if (t->has_offset) t->offset = hl7_time_zone_offset(t, v->zone);
    }
}

static int host_date(lua_State *L)
{
    char out[FHIR_TIME_MAX];
    hl7_time t;

    if (passed_on(L)) return 1;
    const char *wrong = hl7_time_read(check_text(L, 1), &t);
    if (wrong != NULL) return no_date(L, wrong);
    lua_pushstring(L, fhir_date_write(&t, out));
    return 1;
}

static int host_datetime(lua_State *L)
{
    char out[FHIR_TIME_MAX];
    hl7_time t;

    if (passed_on(L)) return 1;
    const char *wrong = hl7_time_read(check_text(L, 1), &t);
    if (wrong != NULL) return no_date(L, wrong);
    find_offset(L, &t);
    lua_pushstring(L, fhir_datetime_write(&t, out));
    if (t.hour < 0 || t.has_offset) return 1;
    lua_pushliteral(L, "cut");
    return 2;
}

static int host_instant(lua_State *L)
{
    char out[FHIR_TIME_MAX];
    hl7_time t;

    if (passed_on(L)) return 1;
    const char *wrong = hl7_time_read(check_text(L, 1), &t);
    if (wrong != NULL) return no_date(L, wrong);
    if (t.hour < 0) return no_date(L, "no time of day");
    find_offset(L, &t);
    if (!t.has_offset) return no_date(L, "no offset");
    lua_pushstring(L, fhir_datetime_write(&t, out));
    return 1;
}

static int host_time(lua_State *L)
{
    char out[FHIR_TIME_MAX];

    if (passed_on(L)) return 1;
    const char *wrong = fhir_time_convert(check_text(L, 1), out);
    if (wrong != NULL) return no_date(L, wrong);
    lua_pushstring(L, out);
    return 1;
}

/* ---- code tables ---------------------------------------------------------------------------
 *
 * Rows stay where they were read, in the pack and in the scope; Lua gets a box for
 * the row that it asks for. Both live as long as the state. */

#define TABLE_TYPE "code table"
#define ROW_TYPE   "row"

/* The tenant's overlay first, then the pack's own, then those that it builds on. */
typedef struct table_box {
    size_t            count;
    const code_table *layers[];
} table_box;

static int host_table(lua_State *L)
{
    vm *v = vm_of(L);
    slice name;

    name.ptr = luaL_checklstring(L, 1, &name.len);
    size_t layers = v->pack == NULL ? 0 : pack_layer_count(v->pack);
    table_box *box = lua_newuserdatauv(L, sizeof *box + (layers + 1) * sizeof box->layers[0], 0);
    box->count = 0;
    const code_table *t = code_table_named(&v->overlay, name);
    if (t != NULL) box->layers[box->count++] = t;
    for (size_t i = 0; i < layers; i++)
        if ((t = code_table_named(pack_layer_tables(v->pack, i), name)) != NULL)
            box->layers[box->count++] = t;
    if (box->count == 0) lua_pushnil(L);
    else luaL_setmetatable(L, TABLE_TYPE);
    return 1;
}

static void row_push(lua_State *L, const code_row *row)
{
    const code_row **box = lua_newuserdatauv(L, sizeof(const code_row *), 0);

    *box = row;
    luaL_setmetatable(L, ROW_TYPE);
}

static int table_index(lua_State *L)
{
    const table_box *box = luaL_checkudata(L, 1, TABLE_TYPE);
    const code_row *row = NULL;
    slice code;

    if (lua_type(L, 2) != LUA_TSTRING && lua_type(L, 2) != LUA_TNUMBER) return 0;
    lua_settop(L, 2);
    code.ptr = lua_tolstring(L, 2, &code.len);
    for (size_t i = 0; i < box->count && row == NULL; i++) row = code_row_find(box->layers[i], code);
    if (row == NULL || row->removed) return 0;
    row_push(L, row);
    return 1;
}

/* In the order of the codes: by way of a table of all rows that count. */
static int table_pairs(lua_State *L)
{
    const table_box *box = luaL_checkudata(L, 1, TABLE_TYPE);

    lua_newtable(L);
    for (size_t i = box->count; i-- > 0;) {
        for (size_t k = 0; k < box->layers[i]->count; k++) {
            const code_row *row = &box->layers[i]->rows[k];
            if (budget_step(&vm_of(L)->budget, 16)) state_check(L);
            lua_pushlstring(L, row->code.ptr, row->code.len);
            if (row->removed) lua_pushnil(L);
            else row_push(L, row);
            lua_rawset(L, -3);
        }
    }
    lua_replace(L, 1);
    lua_settop(L, 1);
    return order_pairs(L);
}

static const code_row *check_row(lua_State *L)
{
    return *(const code_row **)luaL_checkudata(L, 1, ROW_TYPE);
}

static int row_index(lua_State *L)
{
    const code_row *row = check_row(L);
    slice column;

    column.ptr = luaL_checklstring(L, 2, &column.len);
    for (size_t i = 0; i < row->count; i++) {
        if (!slice_eq(row->cells[i].column, column)) continue;
        lua_pushlstring(L, row->cells[i].text.ptr, row->cells[i].text.len);
        return 1;
    }
    return 0;
}

static int row_pairs(lua_State *L)
{
    const code_row *row = check_row(L);

    lua_newtable(L);
    for (size_t i = 0; i < row->count; i++) {
        lua_pushlstring(L, row->cells[i].column.ptr, row->cells[i].column.len);
        lua_pushlstring(L, row->cells[i].text.ptr, row->cells[i].text.len);
        lua_rawset(L, -3);
    }
    lua_replace(L, 1);
    lua_settop(L, 1);
    return order_pairs(L);
}

static int row_newindex(lua_State *L)
{
    return luaL_error(L, "code tables are read-only");
}

void lib_row_open(lua_State *L)
{
    static const luaL_Reg table_meta[] = {
        { "__index", table_index }, { "__pairs", table_pairs }, { "__newindex", row_newindex },
        { NULL, NULL }
    };
    static const luaL_Reg row_meta[] = {
        { "__index", row_index }, { "__pairs", row_pairs }, { "__newindex", row_newindex },
        { NULL, NULL }
    };

    box_type(L, TABLE_TYPE, table_meta, NULL);
    box_type(L, ROW_TYPE, row_meta, NULL);
}

void lib_host_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        { "uuid5", host_uuid5 },   { "decimal", host_decimal },   { "table", host_table },
        { "date", host_date },     { "datetime", host_datetime }, { "instant", host_instant },
        { "time", host_time },     { NULL, NULL }
    };

    luaL_newlib(L, functions);
    null_push(L);
    lua_setfield(L, -2, "null");
}

/* What scripts see of a message, and what comes out, by table: a handler's body and
 * the text that its run gives, or the error. */
#include "support.h"

typedef struct row {
    const char *body;
    const char *expected;                /* part of result_text, or of the error; NULL: just no error */
} row;

/* Bodies that check by themselves: `eq` compares. */
static const char *const checks[] = {
    /* msg:get and its paths */
    "eq(msg:get 'MSH-3', 'LAB')", "eq(msg:get 'MSH-1', '|')", "eq(msg:get 'MSH-2', '^~\\\\&')",
    "eq(msg:get 'PID-3', '42')", "eq(msg:get 'PID-3.4', 'HOSP')", "eq(msg:get 'PID-3.4.2', '1.2.3')",
    "eq(msg:get 'PID-3[2]', '77')", "eq(msg:get 'PID-3[2].5', 'NI')", "eq(msg:get 'PID-3[3]', nil)",
    "eq(msg:get 'PID-5.2', 'Jane & Co')", "eq(msg:get 'PID-9', nil)", "eq(msg:get 'ZZZ-1', nil)",
    "eq(msg:get 'PID-11', hl7.null)", "eq(msg:get 'PID-5.3', hl7.null)", "eq(hl7.null, host.null)",
    "eq(msg:get 'OBX[2]-1', '2')", "eq(msg:get 'OBX[3]-1', nil)", "eq(msg:get 'ZPD-2', 'b')",
    "eq(msg:raw 'PID-3', '42^^^HOSP&1.2.3&ISO^MR~77^^^^NI')", "eq(msg:raw 'PID-5.2', 'Jane \\\\T\\\\ Co')",
    "eq(msg:raw 'ZPD', 'ZPD|a|b')", "eq(msg:raw 'PID-9', nil)",
    "eq(msg:has 'ZPD', true)", "eq(msg:has 'ZPX', false)", "eq(msg:has 'OBX[2]', true)", "eq(msg:has 'OBX[3]', false)",
    "eq(msg:has 'PID-3', true)", "eq(msg:has 'PID-9', false)", "eq(msg:has 'OBX[2]-9', false)",
    "fails(\"bad argument #1 to 'get' (\", function() msg:get 'PID-' end)", "fails('path names no field', msg.get, msg, 'PID')",
    "fails('names several', msg.get, msg, 'OBX[*]-3')", "fails('string expected', msg.get, msg, 3)",
    /* about the message */
    "eq(msg.type, 'ADT^A01')", "eq(msg.event, 'A01')", "eq(msg.version, '2.5')", "eq(msg.control_id, 'C1')",
    "eq(msg.received, '2026-04-18T07:30:00.000000Z')", "eq(msg.tenant, 'north')", "eq(msg.connector, 'adt')",
    "eq(msg.timezone, nil)", "eq(type(msg.settings), 'table')", "eq(next(msg.settings), nil)",
    "fails(\"no 'typo'\", function() return msg.typo end)", "fails('', function() msg.x = 1 end)",
    /* segments */
    "eq(msg:one('PID').name, 'PID')", "eq(msg:one('PID').index, 2)", "eq(msg:first 'ZZZ', nil)",
    "fails('main.lua:%d+: ZZZ missing', function() msg:one 'ZZZ' end)", "fails('three characters', msg.each, msg, 'OBXX')",
    "local n = '' for o in msg:each 'OBX' do n = n .. o:get(1) end eq(n, '12')",
    "local n = '' for s in msg:segments() do n = n .. s.name end eq(n, 'MSHPIDOBXOBXZPD')",
    "for _ in msg:each 'ZZZ' do error 'none' end",
    "local p = msg:one 'PID' eq(p:get(8), 'F') eq(p:get '3[2].5', 'NI') eq(p:get '3.4.2', '1.2.3') eq(p:get(99), nil)",
    "local p = msg:one 'PID' eq(p:raw(5), 'Doe^Jane \\\\T\\\\ Co^\"\"') eq(p:raw '3[2]', '77^^^^NI') eq(p:raw(4), nil)",
    "eq(msg:one('ZPD'):raw(), 'ZPD|a|b')", "eq(msg:one('MSH'):get(3), 'LAB')", "eq(msg:one('MSH'):get(2), '^~\\\\&')",
    "fails('count from 1', function() msg:one('PID'):get(0) end)",
    /* fields and repetitions */
    "local p = msg:one 'PID' eq(p:count(3), 2) eq(p:count(4), 0) eq(p:field(4), nil) eq(p:field(3):count(), 2)",
    "local f = msg:one('PID'):field(3) eq(f:get(1), '42') eq(f:get(4), 'HOSP') eq(f:get(4, 2), '1.2.3') eq(f:get(9), nil)",
    "local h = msg:one('PID'):field(3):sub(4) eq(h:get(1), 'HOSP') eq(h:get(3), 'ISO') eq(h:get(4), nil) eq(h:raw(), 'HOSP&1.2.3&ISO')",
    "local a, b, c, d, e, f = msg:one('PID'):field(3):unpack(6) eq(a, '42') eq(b, nil) eq(c, nil) eq(d, 'HOSP') eq(e, 'MR') eq(f, nil)",
    "local a, b, c = msg:one('PID'):field(5):unpack(3) eq(a, 'Doe') eq(b, 'Jane & Co') eq(c, nil)",
    "local a, b, c, d = msg:one('PID'):field(3):unpack(4, 4) eq(a, 'HOSP') eq(b, '1.2.3') eq(c, 'ISO') eq(d, nil)",
    "local a, b = msg:one('PID'):field(3):sub(4):unpack(2) eq(a, 'HOSP') eq(b, '1.2.3')",
    "eq(select('#', msg:one('PID'):field(8):unpack(64)), 64)", "eq(select(2, msg:one('PID'):field(8):unpack(2, 9)), nil)",
    "eq((msg:one('MSH'):field(2):unpack(1)), '^~\\\\&')", "eq((msg:one('PID'):field(11):unpack(1)), nil)",
    "local v = hl7.parse('MSH|^~\\\\&|A\\rZPD| \\t^ \"\" ^ a\\\\E\\\\ &b^c'):one('ZPD'):field(1) "
    "local a, b, c, d = v:unpack(4) eq(a, nil) eq(b, '\"\"') eq(c, 'a\\\\') eq(d, 'c') eq(hl7.part(v, 3), c) eq(hl7.part(v, 3, 2), 'b')",
    "local f = msg:one('PID'):field(3) fails('1 to 64', f.unpack, f, 0) fails('1 to 64', f.unpack, f, 65) fails('count from 1', f.unpack, f, 1, 0)",
    "local f = msg:one('PID'):field(3):sub(4) fails('only subcomponents', f.unpack, f, 1, 1) fails('only subcomponents', hl7.part, f, 1, 1)",
    "fails('field expected', msg:one('PID'):field(3).unpack, msg, 1)",
    "eq(msg:one('PID'):present(), 1 << 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 11)", "eq(msg:one('ZPD'):present(), 6)",
    "eq(hl7.parse('MSH|^~\\\\&|A\\rZPD' .. ('|'):rep(62) .. 'x|y'):one('ZPD'):present(), 1 << 62)",
    "eq(hl7.clean ' a  b ', 'a  b') eq(hl7.clean ' ', nil) eq(hl7.clean(nil), nil) eq(hl7.clean(hl7.null), nil)",
    "eq(hl7.code ' a  b\\tc ', 'a b c') eq(hl7.code 'a\\tb', 'a\\tb') eq(hl7.code '  ', nil) eq(hl7.code(hl7.null), nil)",
    "local f = msg:one('PID'):field(3) eq(f:sub(2), nil) eq(f:raw(), '42^^^HOSP&1.2.3&ISO^MR~77^^^^NI')",
    "local t = msg:one('PID'):all(3, function(r) return r:get(1) end) eq(#t, 2) eq(t[2], '77')",
    "eq(msg:one('PID'):all(9, function() error 'none' end), nil)", "eq(msg:one('PID'):all(3, function() end), nil)",
    "local n = 0 for r in msg:one('PID'):all(3) do n = n + #r:raw() end eq(n, 30)",
    "local o = msg:first 'OBX' eq(o:field(3):text(), 'A') eq(o:field(3):sub(2):text(), 'B&C') eq(o:field(3):sub(2):get(2), 'C')",
    "local t = {} for o in msg:each 'OBX' do t[#t + 1] = o:all(5, function(r) return r:text() end) end eq(#t[2], 1) eq(t[2][1], 'x')",
    "eq(msg:one('PID'):one(8, function(r) return r:get(1) .. '!' end), 'F!')", "eq(msg:one('PID'):one(9, error), nil)",
    "local f = msg:one('PID'):field(11) eq(f:is_null(), true) eq(f:is_empty(), false) eq(f:get(1), hl7.null)",
    "local f = msg:one('PID'):field(8) eq(f:is_null(), false) eq(f:text(), 'F')",
    "local o for s in msg:each 'OBX' do o = s end eq(o:field(9):is_empty(), true) eq(o:all(9, error), nil)",
    "eq(msg:one('MSH'):field(2):get(1), '^~\\\\&') eq(msg:one('MSH'):count(2), 1)",
    "eq(msg:one('PID'):all(3, setmetatable({}, { __call = function(_, r) return r:get(5) end }))[2], 'NI')",
    /* copies */
    "local c = msg:copy { ['MSH-5'] = 'X' } eq(c:get 'MSH-5', 'X') eq(msg:get 'MSH-5', 'RCV') eq(c:get 'PID-3', '42')",
    "eq(tostring(msg:copy()), tostring(msg))", "eq(tostring(msg:copy { ['ZPD-1'] = 'a' }), tostring(msg))",
    "local c = msg:copy { ['PID-8'] = 'a|b^c' } eq(c:get 'PID-8', 'a|b^c') eq(c:raw 'PID-8', 'a\\\\F\\\\b\\\\S\\\\c')",
    "eq(msg:copy({ ['ZPD-4'] = 'd' }):raw 'ZPD', 'ZPD|a|b||d')", "eq(msg:copy({ ['ZPD-2[3].2.2'] = 'd' }):raw 'ZPD-2', 'b~~^&d')",
    "eq(msg:copy({ ['PID-3[2].4'] = 'd' }):raw 'PID-3', '42^^^HOSP&1.2.3&ISO^MR~77^^^d^NI')",
    "eq(msg:copy({ ['PID-3.4.2'] = 'd' }):raw 'PID-3', '42^^^HOSP&d&ISO^MR~77^^^^NI')",
    "eq(msg:copy({ ['OBX[2]-1'] = 9 }):get 'OBX[2]-1', '9')", "eq(msg:copy({ ['PID-8'] = false }):get 'PID-8', nil)",
    "eq(msg:copy({ ['PID-8'] = hl7.null }):get 'PID-8', hl7.null)", "eq(msg:copy({ ['MSH-5'] = '\\u{e9}' }):get 'MSH-18', 'UNICODE UTF-8')",
    "eq(msg:copy({ ['MSH-20'] = 'x' }):get 'MSH-20', 'x')",
    "fails('no ZZZ segment', msg.copy, msg, { ['ZZZ-1'] = 'x' })", "fails('MSH%-1 and MSH%-2', msg.copy, msg, { ['MSH-2'] = 'x' })",
    "fails('names one field', msg.copy, msg, { PID = 'x' })",
    "local m = hl7.parse 'MSH|^~\\\\&|A\\rPID|1' eq(m:get 'PID-1', '1')", "fails('hl7.parse: ', hl7.parse, 'PID|1')",
    "fails('UTF%-8', hl7.parse, 'MSH|^~\\\\&|\\xff')",
    /* host */
    "eq(host.uuid5 'a', host.uuid5 'a') eq(#host.uuid5 'a', 36) eq(host.uuid5 'a' == host.uuid5 'b', false)",
    "eq(tostring(host.decimal '1.10'), '1.10') eq(host.decimal '1.10' == host.decimal '1.1', true)",
    "eq(host.decimal '2' < host.decimal '10', true) eq(tonumber(host.decimal '1.50'), 1.5)",
    "for _, t in ipairs { '', '+1', '01', '1.', '.5', '1e', '0x1', 'nan', ' 1' } do fails('number', host.decimal, t) end",
    "eq(host.date '2026', '2026') eq(host.date '202604', '2026-04') eq(host.date '20260418', '2026-04-18')",
    "eq(host.date '20260418093000', '2026-04-18') eq(host.date(nil), nil) eq(host.date(hl7.null), hl7.null)",
    "eq(host.datetime '20260418093000+0130', '2026-04-18T09:30:00+01:30')", "eq(host.datetime '202604180930', '2026-04-18T09:30:00+02:00')",
    "eq(host.datetime('202604180930', '-0500'), '2026-04-18T09:30:00-05:00')", "eq(host.datetime '20260418', '2026-04-18')",
    "local v, why = host.datetime '20261318' eq(v, nil) eq(why, 'no such month')", "eq(host.time '0930', '09:30:00')",
    "eq(host.instant '202604180930', '2026-04-18T09:30:00+02:00') eq(host.instant '20260418', nil)",
    "eq(host.table 'none', nil)",
    /* the language itself */
    "local t = { b = 1, a = 2, [3] = 0, [1] = 0, [2.5] = 0, [true] = 0 } local o = '' for k in pairs(t) do o = o .. tostring(k) .. ' ' end "
    "eq(o, '1 2.5 3 a b true ')",
    "local t = { 1, 2, 3 } t[2] = nil local n = 0 for i in pairs(t) do n = n + i end eq(n, 4)",
    "local t = { a = 1, b = 2, c = 3 } for k in pairs(t) do t[k] = nil end eq(next(t), nil)",
    "local t = { x = 1, y = 2 } eq(next(t), 'x') eq(next(t, 'x'), 'y') eq(next(t, 'y'), nil) eq(next({}), nil)",
    "local t = { 5, 6, n = 1 } local k, v = next(t, 2) eq(k, 'n') eq(v, 1)", "fails('no stable order', pairs, { [{}] = 1 })",
    "local o = '' for k, v in pairs(setmetatable({}, { __pairs = function() return next, { z = 1 } end })) do o = o .. k end eq(o, 'z')",
    "eq(tostring(1.0), '1.0') eq(tostring(1), '1') eq(tostring(nil), 'nil') eq(tostring(true), 'true') eq(1e15 // 1, 1e15)",
    "eq(('%5.1f|%s|%q'):format(1.25, 'x', 'y'), '  1.2|x|\"y\"')", "eq(('abc'):rep(2, '-'), 'abc-abc') eq(('x'):rep(0), '')",
    "local t = { 3, 1, 2 } table.sort(t) eq(table.concat(t, ','), '1,2,3') table.sort(t, function(a, b) return a > b end) eq(t[1], 3)",
    "local t = { 'b', 'a' } table.insert(t, 'c') table.insert(t, 1, 'z') eq(table.concat(t), 'zbac') eq(table.remove(t, 1), 'z') "
    "eq(table.remove(t), 'c') eq(#t, 2) eq(table.remove({}), nil)",
    "eq(table.concat(table.move({ 1, 2, 3 }, 1, 3, 2), ','), '1,1,2,3') eq(#table.move({ 1, 2 }, 1, 2, 1, {}), 2)",
    "eq(table.concat({ 1, 2, 'x' }, '-', 2), '2-x') fails('index 2', table.concat, { 1, {} })",
    "eq(select(2, pcall(error, { 1 }))[1], 1) eq(select('#', pcall(function() return 1, 2, 3 end)), 4)",
    "eq(select(2, xpcall(error, function(m) return m .. '!' end, 'x')), 'x!') eq(select('#', xpcall(function(...) return ... end, error, 1, 2)), 3)",
    "eq(utf8.char(228), '\\u{e4}') eq(utf8.len '\\u{e4}b', 2) eq(math.max(1, 2), 2) eq(math.type(1), 'integer')",
    "fails('itself', require, 'circle')", "fails(\"no module 'nope'\", require, 'nope')", "eq(require 'sub.mod', require 'sub.mod')",
    "fails('protected', setmetatable, msg.settings, {})", "eq(getmetatable(msg), 'locked')",
};

static const char preamble[] =
    "local hl7, host, json = require 'hl7', require 'host', require 'json'\n"
    "local function eq(a, b) if a ~= b then error(tostring(a) .. ' is not ' .. tostring(b), 2) end end\n"
    "local function fails(text, f, ...)\n"
    "  local ok, why = pcall(f, ...)\n"
    "  if ok then error('no error', 2) end\n"
    "  if not string.find(why, text, 1, true) and not string.find(why, text) then error(why, 2) end\n"
    "end\n"
    "return function(msg, out) ";

static err open_with(bench *b, const char *body)
{
    char text[4096];

    (void)snprintf(text, sizeof text, "%s%s end", preamble, body);
    const file files[] = {
        { "pack.lua", MANIFEST }, { "main.lua", text }, { "circle.lua", "return require 'circle2'" },
        { "circle2.lua", "return require 'circle'" }, { "sub/mod.lua", "return {}" }, { NULL, NULL }
    };
    const vm_scope scope = { .tenant = slice_lit("north"), .connector_id = slice_lit("CONN_1"),
                             .connector_name = slice_lit("adt") };
    return bench_open_files(b, files, &scope, &test_limits);
}

static void checks_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(checks); i++) {
        bench b;
        if (open_with(&b, checks[i]) != ERR_OK || bench_run(&b, ADT) != ERR_OK)
            fail_msg("%s\n  %s", checks[i], b.why.text);
        bench_close(&b);
    }
}

static const row outputs[] = {
    { "out:put { resourceType = 'Basic', id = 'x', b = 1, a = { 'y', host.null }, n = host.null, e = '', t = {}, o = { p = { '' } } }",
      "{\"resourceType\":\"Basic\",\"id\":\"x\",\"a\":[\"y\"],\"b\":1,\"n\":null} url=urn:uuid:" },
    { "out:put({ resourceType = 'Basic' }, { to = 's', owned = true, if_none_exist = 'a=b', full_url = 'urn:uuid:1' })",
      " url=urn:uuid:1 type=Basic if=a=b owned=1 to=s\n" },
    { "out:put { entries = { { resource = { resourceType = 'A' }, full_url = 'urn:uuid:1', owned = true, more = 1 }, "
      "{ resource = { resourceType = 'B' } } } }", "url=urn:uuid:1 type=A if= owned=1 to=\n{\"resourceType\":\"B\"}" },
    { "local p = { resourceType = 'A' } out:put { entries = { { resource = p, full_url = 'urn:uuid:1', if_none_exist = 'a=b' } } } "
      "out:put(p, { to = 'x' })", "if=a=b owned=0 to=\n{\"resourceType\":\"A\"} url=urn:uuid:1 type=A if=a=b owned=0 to=x\n" },
    { "local p = { resourceType = 'A', x = 1 } out:put(p) p.x = 2", "\"x\":1}" },
    { "local p = { resourceType = 'A' } out:put(p) out:put(p)", "this A was put before" },
    { "out:put { x = 1 }", "without resourceType" }, { "out:put { resourceType = 'a b' }", "no FHIR type" },
    { "out:put { entries = { { resource = 1 } } }", "a number is no resource" },
    { "out:put({ resourceType = 'A' }, { too = 1 })", "no option 'too'" },
    { "out:put({ resourceType = 'A' }, { owned = 1 })", "'owned' is neither" },
    { "out:put({ resourceType = 'A' }, { if_none_exist = '?x' })", "is no search" },
    { "out:put({ resourceType = 'A' }, { full_url = 'x' })", "full_url is no" },
    { "out:put(1)", "table expected" },
    { "out:put { resourceType = 'A', [1] = 2 }", "A: both names and positions" },
    { "out:put { resourceType = 'A', x = { 1, nil, 3 } }", "A.x[2]: a hole in an array" },
    { "out:put { resourceType = 'A', x = { [2] = 1 } }", "A.x[1]: a hole" },
    { "out:put { resourceType = 'A', x = { { y = '\\xff' } } }", "A.x[1].y: text that is not UTF-8" },
    { "out:put { resourceType = 'A', x = print or pairs }", "A.x: a function, which JSON cannot hold" },
    { "out:put { resourceType = 'A', x = msg:one('PID'):field(3) }", "A.x: a field, which" },
    { "out:put { resourceType = 'A', x = 0/0 }", "not finite" }, { "out:put { resourceType = 'A', x = 1/0 }", "not finite" },
    { "out:put { resourceType = 'A', x = { [true] = 1 } }", "neither a name nor a position" },
    { "out:put { resourceType = 'A', x = 'a\\0b\\x07\\tc\\n' }", "\"x\":\"ab\\tc\\n\"" },
    { "out:put { resourceType = 'A', i = 9007199254740993, f = 0.1, w = 3.0, m = -0.0, l = 1e300, d = host.decimal '1.10', t = true, n = false }",
      "\"d\":1.10,\"f\":0.1,\"i\":9007199254740993,\"l\":1e+300,\"m\":0,\"n\":false,\"t\":true,\"w\":3}" },
    { "out:put { resourceType = 'A', meta = { profile = { 'p' } }, _x = { id = '1' }, Z = 1, z = 2 }",
      "{\"resourceType\":\"A\",\"meta\":{\"profile\":[\"p\"]},\"Z\":1,\"_x\":{\"id\":\"1\"},\"z\":2}" },
    { "out:event 'lab.critical'", "event lab.critical\n" }, { "out:event('a', { n = host.null, e = {}, s = '' })", "event a {\"e\":{},\"n\":null,\"s\":\"\"}" },
    { "out:event 'a b'", "an event's type" }, { "out:event '.a'", "an event's type" }, { "out:event 'a..b'", "an event's type" },
    { "out:hl7('west', msg:copy { ['MSH-5'] = 'X' })", "hl7 west: MSH|^~\\&|LAB|HOSP|X|" }, { "out:hl7('w', 'MSH|^~\\\\&|A\\r')", "hl7 w: MSH|^~\\&|A\r" },
    { "out:hl7('w', 'PID|')", "out:hl7: " }, { "out:hl7('', msg)", "no connector" }, { "out:hl7('w', msg)", "hl7 w: MSH" },
    { "out:refuse 'no PID'", "refused no PID\n" }, { "out:skip 'test'", "skipped test\n" }, { "out:skip 'a' out:refuse 'b'", "refused b\n" },
    { "out:refuse 'a' out:skip 'b'", "refused before" },
    /* json */
    { "out:event('e', json.decode '{\"a\":[],\"b\":{},\"c\":[1,2.5,1.10,1e2,null],\"d\":\"\\\\u00e4\"}')",
      "event e {\"a\":[],\"b\":{},\"c\":[1,2.5,1.10,1e2,null],\"d\":\"\xc3\xa4\"}" },
    { "out:event('e', { json.encode { b = { 1, { x = json.null } }, a = json.array {} } })", "[\"{\\\"a\\\":[],\\\"b\\\":[1,{\\\"x\\\":null}]}\"]" },
    { "out:event('e', { json.decode '1' + 1, json.decode '9223372036854775808' })", "[2,9223372036854775808]" },
    { "json.decode '{'", "json: " }, { "json.number 'x'", "not a JSON number" }, { "out:event('e', json.number '1.0')", "event e 1.0\n" },
    { "if true then return end", "" },
};

static void outputs_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(outputs); i++) {
        bench b;
        assert_int_equal(open_with(&b, outputs[i].body), ERR_OK);
        err e = bench_run(&b, ADT);
        slice text = e == ERR_OK ? result_text(&b.mem, &b.result) : slice_of(b.why.text);
        if (outputs[i].expected[0] == '\0' ? text.len > 0 : strstr(arena_cstr(&b.mem, text), outputs[i].expected) == NULL)
            fail_msg("%s\n  %.*s", outputs[i].body, (int)text.len, text.ptr);
        bench_close(&b);
    }
}

/* The order of keys holds for many keys, and for both ways of walking. */
static void order_of_many(void **state)
{
    bench b;

    (void)state;
    assert_int_equal(open_with(&b,
        "local t = {} for i = 1, 500 do t['k' .. i * 7919 % 1000] = i t[i * 3] = i end\n"
        "local last, n for k in pairs(t) do n = (n or 0) + 1 "
        "if type(last) == type(k) then assert(last < k) else assert(last == nil or type(k) == 'string') end last = k end\n"
        "local k, m = next(t), 0 while k do m = m + 1 k = next(t, k) end eq(m, n)"), ERR_OK);
    if (bench_run(&b, ADT) != ERR_OK) fail_msg("%s", b.why.text);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_hold), cmocka_unit_test(outputs_come), cmocka_unit_test(order_of_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* HL7 times to FHIR, and time zones: clock changes, the rules of zone files, names
 * that are none. */
#include "support.h"

#include "script/hl7_time.h"

typedef struct conversion {
    const char *hl7;
    const char *date, *datetime;         /* NULL: refused; `datetime` then is the reason */
} conversion;

static const conversion conversions[] = {
    { "2026", "2026", "2026" },
    { "202604", "2026-04", "2026-04" },
    { "20260418", "2026-04-18", "2026-04-18" },
    { "2026041809", "2026-04-18", "2026-04-18" },
    { "2026041809+0200", "2026-04-18", "2026-04-18T09:00:00+02:00" },
    { "202604180930+0200", "2026-04-18", "2026-04-18T09:30:00+02:00" },
    { "20260418093015-0330", "2026-04-18", "2026-04-18T09:30:15-03:30" },
    { "20260418093015.1234+0000", "2026-04-18", "2026-04-18T09:30:15.1234+00:00" },
    { "20260418093015.10-0000", "2026-04-18", "2026-04-18T09:30:15.10+00:00" },
    { "20260418235960+1400", "2026-04-18", "2026-04-18T23:59:60+14:00" },
    { "20260418+0200", "2026-04-18", "2026-04-18" },
    { "2026+0200", "2026", "2026" },
    { "20240229", "2024-02-29", "2024-02-29" },
    { "20000229", "2000-02-29", "2000-02-29" },
    { "00010101", "0001-01-01", "0001-01-01" },
    { "20260229", NULL, "no such day" },
    { "19000229", NULL, "no such day" },
    { "20260431", NULL, "no such day" },
    { "20260400", NULL, "no such day" },
    { "202613", NULL, "no such month" },
    { "20260018", NULL, "no such month" },
    { "0000", NULL, "no such year" },
    { "", NULL, "not four digits where the year should be" },
    { "26", NULL, "not four digits where the year should be" },
    { "2026-04-18", NULL, "no such offset" },
    { "20264", NULL, "not digits where the month should be" },
    { "2026041824", NULL, "no such hour" },
    { "202604180960", NULL, "no such minute" },
    { "20260418093061", NULL, "no such second" },
    { "2026041809301", NULL, "not digits where the second should be" },
    { "20260418093015.", NULL, "not one to nine digits after the second's point" },
    { "20260418093015.1234567890", NULL, "not one to nine digits after the second's point" },
    { "20260418093015+200", NULL, "no such offset" },
    { "20260418093015+1500", NULL, "no such offset" },
    { "20260418093015+0060", NULL, "no such offset" },
    { "20260418 0930", NULL, "more behind it than a date and time" },
    { "20260418093015Z", NULL, "more behind it than a date and time" },
};

static void hl7_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(conversions); i++) {
        const conversion *c = &conversions[i];
        char out[FHIR_TIME_MAX];
        hl7_time t;
        const char *wrong = hl7_time_read(slice_of(c->hl7), &t);

        if (c->date == NULL) {
            if (wrong == NULL || strcmp(wrong, c->datetime) != 0) fail_msg("'%s': %s", c->hl7, wrong);
            continue;
        }
        if (wrong != NULL) fail_msg("'%s': %s", c->hl7, wrong);
        assert_string_equal(fhir_date_write(&t, out), c->date);
        assert_string_equal(fhir_datetime_write(&t, out), c->datetime);
    }
}

static void hl7_clock(void **state)
{
    static const char *const rows[][2] = {
        { "09", "09:00:00" }, { "0930", "09:30:00" }, { "093015", "09:30:15" }, { "093015.50", "09:30:15.50" },
        { "0930+0100", "09:30:00" }, { "", NULL }, { "9", NULL }, { "24", NULL }, { "0930x", NULL },
    };
    char out[FHIR_TIME_MAX];

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        const char *wrong = fhir_time_convert(slice_of(rows[i][0]), out);
        assert_true((wrong == NULL) == (rows[i][1] != NULL));
        if (wrong == NULL) assert_string_equal(out, rows[i][1]);
    }
}

typedef struct local { const char *zone, *time; int minutes; } local;

static const local locals[] = {
    { "Europe/Berlin", "202601150930", 60 },
    { "Europe/Berlin", "202607150930", 120 },
    /* the gap of 29 March 2026, 02:00 to 03:00: the offset from before */
    { "Europe/Berlin", "20260329015959", 60 },
    { "Europe/Berlin", "20260329020000", 60 },
    { "Europe/Berlin", "20260329025959", 60 },
    { "Europe/Berlin", "20260329030000", 120 },
    /* 25 October 2026, 02:00 to 03:00 comes twice: the first one */
    { "Europe/Berlin", "20261025015959", 120 },
    { "Europe/Berlin", "20261025020000", 120 },
    { "Europe/Berlin", "20261025025959", 120 },
    { "Europe/Berlin", "20261025030000", 60 },
    /* far beyond the file's changes: by its rule */
    { "Europe/Berlin", "209907150930", 120 },
    { "Europe/Berlin", "209901150930", 60 },
    { "Europe/Berlin", "209903290259", 60 },
    { "Europe/Berlin", "209903290300", 120 },
    /* before time zones: local mean time, cut to minutes */
    { "Europe/Berlin", "18500101", 53 },
    { "America/New_York", "202603080230", -300 },
    { "America/New_York", "202603080300", -240 },
    { "America/New_York", "202611010130", -240 },
    { "America/New_York", "202611010200", -300 },
    { "America/St_Johns", "202607150930", -150 },
    { "Asia/Kathmandu", "202607150930", 345 },
    { "Asia/Tokyo", "205007150930", 540 },
    /* the southern summer crosses the year */
    { "Australia/Sydney", "202601150930", 660 },
    { "Australia/Sydney", "202607150930", 600 },
    { "Australia/Sydney", "206001150930", 660 },
    { "Australia/Lord_Howe", "206007150930", 630 },
    /* Ireland's winter time is the exception, in the rule */
    { "Europe/Dublin", "206001150930", 0 },
    { "Europe/Dublin", "206007150930", 60 },
    { "Africa/Casablanca", "202607150930", 60 },
    { "UTC", "202607150930", 0 },
    { "Etc/GMT+5", "202607150930", -300 },
    { "America/Argentina/Buenos_Aires", "202607150930", -180 },
    { "Pacific/Apia", "201112310000", 840 },
};

static void zones(void **state)
{
    (void)state;
    for (size_t i = 0; i < countof(locals); i++) {
        const zone *z;
        err_info why;
        hl7_time t;

        if (zone_get(slice_of(locals[i].zone), &z, &why) != ERR_OK) fail_msg("%s", why.text);
        char full[32];
        (void)snprintf(full, sizeof full, "%s%s", locals[i].time, strlen(locals[i].time) == 8 ? "00" : "");
        assert_null(hl7_time_read(slice_of(full), &t));
        int got = hl7_time_zone_offset(&t, z);
        if (got != locals[i].minutes) fail_msg("%s %s: %d", locals[i].zone, locals[i].time, got);
    }
}

static void zone_names(void **state)
{
    static const char *const rows[][2] = {
        { "", "no IANA zone name" }, { "/etc/passwd", "no IANA zone name" }, { "../../../etc/passwd", "no IANA zone name" },
        { "Europe/../UTC", "no IANA zone name" }, { "Mars/Olympus", "no such IANA zone" }, { "Europe", "no such IANA zone" },
        { "tzdata.zi", "no IANA zone name" }, { "Europe/Berlin/x", "no such IANA zone" }, { "CEST", "no such IANA zone" },
        { "right/Europe/Berlin", "" },
    };
    const zone *z;
    err_info why;

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        assert_int_equal(zone_get(slice_of(rows[i][0]), &z, &why), ERR_CONFIG);
        if (strstr(why.text, rows[i][1]) == NULL) fail_msg("%s: %s", rows[i][0], why.text);
    }
    assert_int_equal(zone_get(slice_lit("UTC\0x"), &z, &why), ERR_CONFIG);
}

/* A file with no changes and this footer. */
static err zone_with(const char *footer, zone **out)
{
    char bytes[256] = { 0 };
    size_t n = 0;
    err_info why;

    for (int block = 0; block < 2; block++) {
        memcpy(bytes + n, "TZif2", 5);
        bytes[n + 39] = 1;                /* one type */
        bytes[n + 43] = 4;                /* four characters of names */
        n += 44 + 6 + 4;
    }
    n += (size_t)snprintf(bytes + n, sizeof bytes - n, "\n%s\n", footer);
    return zone_read((slice){ bytes, n }, out, &why);
}

static void footers(void **state)
{
    static const struct { const char *footer, *time; int minutes; } rows[] = {
        { "UTC0", "202607150930", 0 }, { "<+0330>-3:30", "202607150930", 210 }, { "EST5", "202607150930", -300 },
        { "", "202607150930", 0 },
        { "AAA-1BBB-3,M3.5.0,M10.5.0", "202607150930", 180 },
        { "AAA-1BBB,J60/0,J300/0", "202402290000", 60 }, { "AAA-1BBB,J60/0,J300/0", "202403010000", 60 },
        { "AAA-1BBB,J60/0,J300/0", "202403010100", 120 }, { "AAA-1BBB,J60/0,J300/0", "202303010100", 120 },
        { "AAA-1BBB,59/0,300/0", "202402290100", 120 }, { "AAA-1BBB,59/0,300/0", "202303010100", 120 },
        { "AAA-1BBB,0/0,J365/25", "202607150930", 120 },              /* summer all year */
        { "AAA-1BBB,M3.2.5/-2,M10.5.0", "202603122300", 120 }, { "AAA-1BBB,M3.2.5/-2,M10.5.0", "202603122100", 60 },
        { "<-02>2<-01>,M3.5.0/-1,M10.5.0/0", "202607150930", -60 },
    };
    static const char *const wrong[] = { "X", "AB1", "AAA", "AAA-1BBB", "AAA-1BBB,M13.1.1,M10.1.1", "AAA-1BBB,M3.1.1",
                                         "AAA-1BBB,M3.1.7,M10.1.1", "AAA200", "AAA-1BBB,M3.1.1,M10.1.1x", "<AA1" };
    zone *z;

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        hl7_time t;
        assert_int_equal(zone_with(rows[i].footer, &z), ERR_OK);
        assert_null(hl7_time_read(slice_of(rows[i].time), &t));
        int got = hl7_time_zone_offset(&t, z);
        if (got != rows[i].minutes) fail_msg("%s %s: %d", rows[i].footer, rows[i].time, got);
        zone_free(z);
    }
    for (size_t i = 0; i < countof(wrong); i++)
        if (zone_with(wrong[i], &z) == ERR_OK) fail_msg("%s", wrong[i]);
}

/* Damaged files, cut at every byte, are refused and read no further than they go. */
static void damaged(void **state)
{
    arena mem = { 0 };
    err_info why;
    zone *z;
    FILE *f = fopen("/usr/share/zoneinfo/Europe/Berlin", "rb");
    char *bytes = arena_alloc(&mem, 65536);

    (void)state;
    assert_non_null(f);
    size_t n = fread(bytes, 1, 65536, f);
    (void)fclose(f);
    for (size_t i = 0; i < n; i++) {
        char *copy = mem_alloc(i);       /* exactly as long, so that a sanitizer sees it */
        memcpy(copy, bytes, i);
        assert_int_equal(zone_read((slice){ copy, i }, &z, &why), ERR_CONFIG);
        free(copy);
    }
    bytes[36] = 0x7f;
    assert_int_equal(zone_read((slice){ bytes, n }, &z, &why), ERR_CONFIG);
    arena_free(&mem);
}

/* In a script: MSH-7's offset, then the scope's zone, then cut to the date. */
static void in_scripts(void **state)
{
    static const char main_lua[] =
        "local host = require 'host' return function(msg, out) local v, cut = host.datetime '202607150930' "
        "out:event('t', { v, cut or 'whole' }) end";
    static const struct { const char *zone, *msh7, *expected; } rows[] = {
        { "", "20260101+0500", "event t [\"2026-07-15T09:30:00+05:00\",\"whole\"]\n" },
        { "Europe/Berlin", "202601010000-0100", "event t [\"2026-07-15T09:30:00-01:00\",\"whole\"]\n" },
        { "Europe/Berlin", "20260101", "event t [\"2026-07-15T09:30:00+02:00\",\"whole\"]\n" },
        { "", "20260101", "event t [\"2026-07-15\",\"cut\"]\n" }, { "", "", "event t [\"2026-07-15\",\"cut\"]\n" },
    };
    const file files[] = { { "pack.lua", MANIFEST }, { "main.lua", main_lua }, { NULL, NULL } };

    (void)state;
    for (size_t i = 0; i < countof(rows); i++) {
        const vm_scope scope = { .tenant = slice_lit("t"), .timezone = slice_of(rows[i].zone) };
        char text[128];
        bench b;
        assert_int_equal(bench_open_files(&b, files, &scope, &test_limits), ERR_OK);
        (void)snprintf(text, sizeof text, "MSH|^~\\&|||||%s||ADT^A01|1|P|2.5\r", rows[i].msh7);
        assert_int_equal(bench_run(&b, text), ERR_OK);
        assert_string_equal(arena_cstr(&b.mem, result_text(&b.mem, &b.result)), rows[i].expected);
        bench_close(&b);
    }
    const vm_scope wrong = { .timezone = slice_lit("Nowhere/Here") };
    bench b;
    assert_int_equal(bench_open_files(&b, files, &wrong, &test_limits), ERR_CONFIG);
    assert_string_equal(b.why.text, "timezone 'Nowhere/Here': no such IANA zone");
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hl7_times), cmocka_unit_test(hl7_clock), cmocka_unit_test(zones), cmocka_unit_test(zone_names),
        cmocka_unit_test(footers), cmocka_unit_test(damaged), cmocka_unit_test(in_scripts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

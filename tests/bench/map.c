/* tests/bench/map.c -- how many messages a second the stock pack maps to FHIR.
 *
 *   bench_map [--json] [FILE…]
 *
 * One core, one state; each message is parsed, run through the pack, and written as
 * the transaction Bundle that a service is sent. An ADT^A01 of about 1 kB
 * (tests/data/hl7-adt-a01.hl7) and an ORU^R01 with 20 results, or the files that are
 * named. Beside it, in the same run, what parsing alone takes: the machine may be
 * shared, so the best of several rounds of both counts. REPEATS in the environment
 * makes a round shorter or longer. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "engine/pack_folder.h"
#include "fhir/bundle.h"
#include "script/vm.h"

enum { ROUNDS = 7, REPEATS = 3000, RESULTS = 20, FILE_MAX = 1 << 20 };

static slice read_message(arena *mem, const char *path)
{
    char *text = arena_alloc(mem, FILE_MAX);
    FILE *file = fopen(path, "rb");
    size_t len = file == NULL ? 0 : fread(text, 1, FILE_MAX, file);

    if (file != NULL) (void)fclose(file);
    if (len == 0) die("bench_map: %s cannot be read", path);
    return (slice){ text, len };
}

static slice laboratory_message(arena *mem)
{
    buf text = buf_in(mem);

    buf_puts(&text, "MSH|^~\\&|LAB|NORTHHOSP|INTEROP|NORTH|20260418101500+0200||ORU^R01^ORU_R01|LAB0000815|P|2.5.1\r"
                    "PID|1||7300421^^^NORTHHOSP^MR||MUSTER^ANNA^MARIA||19610615|F\r"
                    "PV1|1|I|MED3^312^2^NORTHHOSP||||4711^KELLER^RUTH^^^DR|||||||||||V0042133^^^NORTHHOSP^VN\r"
                    "ORC|RE|P4711^HIS|F0815^LAB||CM||||20260418080000+0200|||4711^KELLER^RUTH^^^DR\r"
                    "OBR|1|P4711^HIS|F0815^LAB|CHEM20^Chemistry panel^L|||20260418080000+0200|||||||||4711^KELLER^RUTH^^^DR"
                    "||||||20260418101400+0200||LAB|F\r");
    for (int i = 1; i <= RESULTS; i++)
        buf_printf(&text, "OBX|%d|NM|%d-%d^Analyte %d^LN||%d.%d0|mmol/L^mmol/L^UCUM|3.50-5.10|%s|||F|||20260418080000+0200\r",
                   i, 2000 + i, i % 10, i, 3 + i % 4, i % 10, i % 4 == 3 ? "H" : "N");
    return buf_slice(&text);
}

static hl7_msg *parse(arena *mem, slice message)
{
    hl7_msg *m;
    err_info why;

    arena_reset(mem);
    if (hl7_parse(mem, message, &m, &why) != ERR_OK) die("bench_map: %s", why.text);
    return m;
}

static uint64_t parse_round(arena *mem, slice message, int repeats)
{
    uint64_t start = clock_cpu_ns();

    for (int n = 0; n < repeats; n++) (void)parse(mem, message);
    return clock_cpu_ns() - start;
}

static void write_bundle(buf *out, arena *mem, const script_result *result)
{
    fhir_bundle_entry *entries = arena_array(mem, fhir_bundle_entry, result->resource_count + 1);
    size_t n = 0;

    for (const script_resource *r = result->resources; r != NULL; r = r->next)
        entries[n++] = (fhir_bundle_entry){
            .full_url = r->full_url, .resource = r->resource, .method = slice_lit("POST"),
            .url = r->type, .if_none_exist = r->if_none_exist,
        };
    buf_clear(out);
    fhir_bundle_write(out, SLICE_NONE, SLICE_NONE, entries, n);
}

static uint64_t map_round(vm *v, arena *mem, slice message, int repeats, buf *out)
{
    uint64_t start = clock_cpu_ns();
    script_result result;
    err_info why;

    for (int n = 0; n < repeats; n++) {
        vm_input input = { .msg = parse(mem, message), .message_id = slice_lit("MSG_1"),
                           .received_us = 1776500000000000 };
        if (vm_transform(v, &input, mem, &result, &why) != ERR_OK) die("bench_map: %s", why.text);
        if (result.resource_count == 0) die("bench_map: nothing came of the message");
        write_bundle(out, mem, &result);
    }
    return clock_cpu_ns() - start;
}

static void bench(vm *v, const char *name, slice message, int repeats, bool as_json)
{
    uint64_t map_best = UINT64_MAX, parse_best = UINT64_MAX;
    arena mem = { 0 };
    buf out = { 0 };

    for (int round = 0; round < ROUNDS; round++) {
        uint64_t map = map_round(v, &mem, message, repeats, &out), alone = parse_round(&mem, message, repeats);
        if (map < map_best) map_best = map;
        if (alone < parse_best) parse_best = alone;
    }
    double value = repeats / ((double)map_best / 1e9), limit = repeats / ((double)parse_best / 1e9);
    if (as_json)
        printf("{\"bench\":\"map\",\"figure\":\"%s_messages_per_s\",\"value\":%.0f,\"unit\":\"messages/s\",\"limit\":%.0f,"
               "\"limit_is\":\"the same messages parsed only, same run\"}\n", name, value, limit);
    else
        printf("map  %s_messages_per_s  %.0f messages/s  beside %.0f messages/s parsed only"
               "  (%zu bytes to %zu, %.1f us a message)\n", name, value, limit, message.len, out.len, 1e6 / value);
    buf_free(&out);
    arena_free(&mem);
}

static vm *open_stock_pack(arena *mem)
{
    const vm_scope scope = { .tenant = slice_lit("north"), .connector_id = slice_lit("CON_1"),
                             .connector_name = slice_lit("adt"), .timezone = slice_lit("Europe/Zurich") };
    vm_limits limits = VM_DEFAULT_LIMITS;
    slice archive;
    err_info why;
    pack *p;
    vm *v;

    limits.cpu_ns *= 100;                /* under a profiler, too */
    limits.wall_ns *= 100;
    if (pack_folder_read(mem, LUA_DIR "/packs/v2-to-fhir", LUA_DIR, &archive, &why) != ERR_OK
        || pack_open(archive, NULL, &p, &why) != ERR_OK
        || vm_open(p, &scope, &limits, &v, &why) != ERR_OK) die("bench_map: %s", why.text);
    pack_drop(p);
    return v;
}

int main(int argc, char **argv)
{
    const char *wanted = getenv("REPEATS");
    int repeats = wanted == NULL ? REPEATS : atoi(wanted);
    bool as_json = argc > 1 && strcmp(argv[1], "--json") == 0;
    arena mem = { 0 };

    if ((argc > 1 && !as_json && argv[1][0] == '-') || repeats <= 0) {
        fprintf(stderr, "usage: bench_map [--json] [FILE...]\n");
        return 2;
    }
    vm *v = open_stock_pack(&mem);
    for (int i = as_json ? 2 : 1; i < argc; i++) bench(v, "file", read_message(&mem, argv[i]), repeats, as_json);
    if (argc == (as_json ? 2 : 1)) {
        bench(v, "adt", read_message(&mem, TEST_DATA "/hl7-adt-a01.hl7"), repeats, as_json);
        bench(v, "oru", laboratory_message(&mem), repeats / 3 + 1, as_json);
    }
    vm_close(v);
    arena_free(&mem);
    return 0;
}

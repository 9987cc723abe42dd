/* tests/bench/parse.c -- how fast a message is indexed and 30 fields of it read,
 * beside a bare scan for the same delimiters in scalar C.
 *
 *   bench_parse [--json]
 *
 * One core, the same ADT^A01 of about 1 kB (tests/data/hl7-adt-a01.hl7) over and
 * over, each time in an arena that was reset, best of several rounds of both taken
 * in turn: the machine may be shared, and what is wanted is the cost of the code. */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "hl7/parse.h"

enum { ROUNDS = 15, REPEATS = 20000, FIELDS = 30 };

static const char *const fields[FIELDS] = {
    "MSH-3", "MSH-4", "MSH-7", "MSH-9.1", "MSH-9.2", "MSH-10", "MSH-12", "MSH-18",
    "EVN-2", "EVN-5.1",
    "PID-3.1", "PID-3.4", "PID-3[2].1", "PID-5.1", "PID-5.2", "PID-7", "PID-8", "PID-11.1", "PID-11.3",
    "PID-11.5", "PID-13[2].7", "PID-18.1",
    "NK1-2.1", "NK1-3.1", "PV1-2", "PV1-3.1", "PV1-7.1", "PV1-19.1", "PV1-44",
    "AL1-3.2",
};

static double megabytes_a_second(slice message, uint64_t ns)
{
    return (double)message.len * REPEATS / ((double)ns / 1e9) / 1e6;
}

/* Every delimiter, counted, one byte after the other, by a table. The barrier
 * keeps the compiler from counting once for all repeats. */
static uint64_t scan_round(slice message, size_t *found)
{
    static const unsigned char is_delimiter[256] = {
        ['|'] = 1, ['^'] = 1, ['~'] = 1, ['\\'] = 1, ['&'] = 1, ['\r'] = 1, ['\n'] = 1
    };
    uint64_t start = clock_ns();

    for (int n = 0; n < REPEATS; n++) {
        const char *p = message.ptr;
        size_t count = 0;
        __asm__ volatile("" : "+r"(p) : : "memory");
        for (size_t i = 0; i < message.len; i++) count += is_delimiter[(unsigned char)p[i]];
        *found += count;
    }
    return clock_ns() - start;
}

static uint64_t parse_round(slice message, arena *mem, const hl7_path *paths, size_t *found)
{
    uint64_t start = clock_ns();

    for (int n = 0; n < REPEATS; n++) {
        hl7_msg *m;
        arena_reset(mem);
        if (hl7_parse(mem, message, &m, NULL) != ERR_OK) abort();
        for (size_t i = 0; i < FIELDS; i++) *found += hl7_get(m, &paths[i]).len;
    }
    return clock_ns() - start;
}

static slice read_message(arena *mem)
{
    char *text = arena_alloc(mem, 4096);
    FILE *file = fopen(TEST_DATA "/hl7-adt-a01.hl7", "rb");
    size_t len = 0;

    if (file != NULL) {
        len = fread(text, 1, 4096, file);
        (void)fclose(file);
    }
    return (slice){ text, len };
}

int main(int argc, char **argv)
{
    bool json = argc == 2 && strcmp(argv[1], "--json") == 0;
    uint64_t parse_best = UINT64_MAX, scan_best = UINT64_MAX;
    size_t read = 0, delimiters = 0;
    hl7_path paths[FIELDS];
    arena mem = { 0 }, kept = { 0 };
    slice message = read_message(&kept);

    if (argc > 1 && !json) {
        fprintf(stderr, "usage: bench_parse [--json]\n");
        return 2;
    }
    for (size_t i = 0; i < FIELDS; i++) {
        hl7_msg *m;
        if (hl7_path_parse(slice_of(fields[i]), &paths[i], NULL) != ERR_OK
            || hl7_parse(&mem, message, &m, NULL) != ERR_OK
            || hl7_get(m, &paths[i]).len == 0) {
            fprintf(stderr, "bench_parse: %s is not in the message\n", fields[i]);
            return 1;
        }
    }
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t scan = scan_round(message, &delimiters), parse = parse_round(message, &mem, paths, &read);
        if (scan < scan_best) scan_best = scan;
        if (parse < parse_best) parse_best = parse;
    }
    arena_free(&mem);
    arena_free(&kept);
    if (delimiters == 0 || read == 0) return 1;

    double value = megabytes_a_second(message, parse_best), limit = megabytes_a_second(message, scan_best);
    if (json)
        printf("{\"bench\":\"parse\",\"figure\":\"mb_per_s\",\"value\":%.0f,\"unit\":\"MB/s\",\"limit\":%.0f,"
               "\"limit_is\":\"a bare scalar scan for the delimiters, same message, same run\"}\n", value, limit);
    else
        printf("parse  mb_per_s  %.0f MB/s  beside %.0f MB/s for a bare scalar delimiter scan"
               "  (%zu bytes, index + %d fields, %.0f ns a message)\n", value, limit,
               message.len, FIELDS, (double)parse_best / REPEATS);
    return 0;
}

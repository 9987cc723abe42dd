/* engine/config.c -- one table of keys; file, environment and help follow it. */
#include "engine/config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "engine/words.h"

typedef enum kind {
    KIND_TEXT, KIND_ADDRESS, KIND_LOG, KIND_LEVEL,
    KIND_INT, KIND_SIZE, KIND_DURATION   /* between `least` and `most` */
} kind;

typedef struct key {
    const char *name;
    kind        kind;
    size_t      at;                      /* offset in config */
    const char *standard;                /* read like a value that was given */
    int64_t     least, most;
    const char *meaning;
} key;

#define AT(member) offsetof(config, member)
#define CORES "cores"                    /* as many as the machine has */

static const key keys[] = {
    { "database_url", KIND_TEXT, AT(database_url), "", 0, 0, "postgresql://… of the engine's role" },
    { "owner_database_url", KIND_TEXT, AT(owner_database_url), "", 0, 0,
      "postgresql://… of the role that owns the tables (migrate only)" },
    { "database_patience", KIND_DURATION, AT(database_patience), "30s", 1000, 3600000,
      "how long a statement may take; a database that is silent for half as long again is lost" },
    { "http", KIND_ADDRESS, AT(http_host), "127.0.0.1:8080", 0, 0, "where HTTP is served" },
    { "mllp_address", KIND_TEXT, AT(mllp_address), "127.0.0.1", 0, 0, "where connectors listen that name no address" },
    { "nats_url", KIND_TEXT, AT(nats_url), "", 0, 0, "nats://… of the event broker; empty: none" },
    { "log", KIND_LOG, AT(log_text), "json", 0, 0, "json or text" },
    { "log_level", KIND_LEVEL, AT(log_least), "info", 0, 0, "debug, info, warn or error" },
    { "transform_threads", KIND_INT, AT(transform_threads), CORES, 1, 64, "threads that run scripts" },
    { "script_bytes", KIND_SIZE, AT(script_bytes), "128MiB", 1 << 20, INT64_C(1) << 40,
      "most bytes that a thread's Lua states keep between runs" },
    { "ingest_connections", KIND_INT, AT(ingest_connections), "2", 1, 16,
      "database connections that store messages; of several nodes each opens them and uses its part, one at least" },
    { "result_connections", KIND_INT, AT(result_connections), "1", 1, 16, "database connections that store results" },
    { "memory_messages", KIND_INT, AT(memory_messages), "20000", 100, 10000000, "most messages held in memory" },
    { "memory_bytes", KIND_SIZE, AT(memory_bytes), "256MiB", 16 << 20, INT64_C(1) << 40,
      "bytes of messages held in memory; half as much besides is kept for those that others leave no room" },
    { "lane_messages", KIND_INT, AT(lane_messages), "5000", 1, 10000000, "most messages of one connector held in memory" },
    { "drain_ms", KIND_DURATION, AT(drain_ms), "10s", 0, 3600000, "how long a clean stop may take" },
    { "admin_token", KIND_TEXT, AT(admin_token), "", 0, 0, "bearer token of /v1; empty: /v1 answers loopback only" },
    { "event_window_hours", KIND_INT, AT(event_window_hours), "72", 1, 87600, "published events stay replayable this long" },
    { "watch", KIND_TEXT, AT(watch), "", 0, 0, "folder of packs that are pushed when they change (development)" },
};

static const key *find_key(slice name)
{
    for (size_t i = 0; i < countof(keys); i++)
        if (slice_is(name, keys[i].name)) return &keys[i];
    return NULL;
}

bool config_address(arena *mem, slice text, const char **host, uint16_t *port)
{
    size_t colon = text.len;
    int64_t n;
    slice name;

    while (colon > 0 && text.ptr[colon - 1] != ':') colon--;
    if (colon == 0 || !slice_int(slice_from(text, colon), &n) || n < 0 || n > 65535) return false;
    name = (slice){ text.ptr, colon - 1 };
    if (name.len > 1 && name.ptr[0] == '[' && name.ptr[name.len - 1] == ']')
        name = (slice){ name.ptr + 1, name.len - 2 };
    else if (memchr(name.ptr, ':', name.len) != NULL)
        return false;                                        /* IPv6 without brackets */
    for (size_t i = 0; i < name.len; i++)
        if (name.ptr[i] <= ' ' || strchr("/@[]", name.ptr[i]) != NULL) return false;
    *host = name.len > 0 ? arena_cstr(mem, name) : "0.0.0.0";
    *port = (uint16_t)n;
    return true;
}

static void put_takes(buf *out, const key *k)
{
    bool size = k->kind == KIND_SIZE;

    switch (k->kind) {
    case KIND_TEXT:    buf_puts(out, "text"); return;
    case KIND_ADDRESS: buf_puts(out, "HOST:PORT, such as 127.0.0.1:8080"); return;
    case KIND_LOG:     buf_puts(out, "json or text"); return;
    case KIND_LEVEL:   buf_puts(out, "debug, info, warn or error"); return;
    case KIND_INT:
        buf_printf(out, "a number from %lld to %lld", (long long)k->least, (long long)k->most);
        return;
    case KIND_SIZE: case KIND_DURATION:
        buf_puts(out, size ? "a size from " : "a time from ");
        (size ? words_put_size : words_put_duration)(out, k->least);
        buf_puts(out, " to ");
        (size ? words_put_size : words_put_duration)(out, k->most);
        return;
    }
}

static int64_t count_cores(const key *k)
{
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < k->least ? k->least : n > k->most ? k->most : n;
}

static err read_value(arena *mem, const key *k, slice text, config *out, err_info *why)
{
    void *member = (char *)out + k->at;
    bool good = true;
    int64_t n = 0;

    switch (k->kind) {
    case KIND_TEXT:
        good = text.len == 0 || memchr(text.ptr, '\0', text.len) == NULL;
        *(const char **)member = arena_cstr(mem, text);
        break;
    case KIND_ADDRESS:
        good = config_address(mem, text, &out->http_host, &out->http_port);
        break;
    case KIND_LOG:
        out->log_text = slice_is(text, "text");
        good = out->log_text || slice_is(text, "json");
        break;
    case KIND_LEVEL:
        good = log_level_parse(text, &out->log_least);
        break;
    case KIND_INT:
        if (slice_is(text, CORES) && slice_is(slice_of(k->standard), CORES)) n = count_cores(k);
        else good = slice_int(text, &n);
        break;
    case KIND_SIZE:
        good = words_size(text, &n);
        break;
    case KIND_DURATION:
        good = words_duration(text, &n);
        break;
    }
    if (k->kind >= KIND_INT) {
        good = good && n >= k->least && n <= k->most;
        *(int64_t *)member = n;
    }
    if (good) return ERR_OK;
    buf takes = buf_in(mem);
    put_takes(&takes, k);
    return err_set(why, ERR_CONFIG, "%s takes %.*s", k->name, (int)takes.len, takes.ptr);
}

/* `key = value`, `key = "value with # or blanks at its ends"`; ` #` begins a comment. */
static err read_line(arena *mem, slice line, size_t number, size_t seen[countof(keys)], config *out, err_info *why)
{
    slice value, name = slice_trim(slice_cut(line, '=', &value));
    const key *k = find_key(name);

    if (value.ptr == NULL) return err_set(why, ERR_CONFIG, "write key = value");   /* not the line: it may hold a secret */
    if (k == NULL)
        return err_set(why, ERR_CONFIG, "unknown key \"%s\"%s", words_show(name).text,
                       words_suggest(name, &keys[0].name, sizeof keys[0], countof(keys)).text);
    if (seen[k - keys] != 0) return err_set(why, ERR_CONFIG, "%s is set already in line %zu", k->name, seen[k - keys]);
    seen[k - keys] = number;
    value = slice_trim(value);
    if (value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"') {
        value = (slice){ value.ptr + 1, value.len - 2 };
    } else {
        for (size_t i = 1; i < value.len; i++) {
            if (value.ptr[i] != '#' || (value.ptr[i - 1] != ' ' && value.ptr[i - 1] != '\t')) continue;
            value = slice_trim((slice){ value.ptr, i });
            break;
        }
    }
    return read_value(mem, k, value, out, why);
}

static err read_file(arena *mem, const char *path, config *out, err_info *why)
{
    size_t seen[countof(keys)] = { 0 }, number = 0, cap = 0;
    char *line = NULL;
    FILE *f = fopen(path, "re");
    ssize_t n = 0;
    err e = ERR_OK;

    if (f == NULL) return err_set(why, ERR_CONFIG, "configuration file %s: %s", path, strerror(errno));
    while (e == ERR_OK && (n = getline(&line, &cap, f)) >= 0) {
        slice text = slice_trim((slice){ line, (size_t)n });
        number++;
        if (text.len == 0 || text.ptr[0] == '#') continue;
        e = read_line(mem, text, number, seen, out, why);
        if (e != ERR_OK && why != NULL) (void)err_prefix(why, "%s:%zu", path, number);
    }
    if (e == ERR_OK && ferror(f)) e = err_set(why, ERR_CONFIG, "configuration file %s: %s", path, strerror(errno));
    free(line);
    (void)fclose(f);
    return e;
}

static err read_environment(arena *mem, config *out, err_info *why)
{
    for (size_t i = 0; i < countof(keys); i++) {
        char variable[64] = "INTEROP_";
        size_t n = strlen(variable);
        for (const char *c = keys[i].name; *c != '\0'; c++)
            variable[n++] = *c >= 'a' && *c <= 'z' ? (char)(*c - 'a' + 'A') : *c;
        variable[n] = '\0';
        const char *value = getenv(variable);
        if (value == NULL) continue;
        if (value[0] == '\0' && keys[i].kind != KIND_TEXT) continue;     /* as if it were not set */
        err e = read_value(mem, &keys[i], slice_of(value), out, why);
        if (e != ERR_OK) {
            if (why != NULL) (void)err_prefix(why, "%s", variable);
            return e;
        }
    }
    return ERR_OK;
}

err config_load(arena *mem, const char *file, config *out, err_info *why)
{
    err e;

    *out = (config){ .http_port = 0 };
    for (size_t i = 0; i < countof(keys); i++)
        if (read_value(mem, &keys[i], slice_of(keys[i].standard), out, NULL) != ERR_OK)
            die("default of %s makes no sense", keys[i].name);
    if (file == NULL) file = getenv("INTEROP_CONFIG");
    if (file != NULL && file[0] != '\0') {
        e = read_file(mem, file, out, why);
        if (e != ERR_OK) return e;
    }
    return read_environment(mem, out, why);
}

void config_check_environment(void)
{
    static const char *const others[] = { "config", "lua", "tenant", "demo_database_url" };      /* read elsewhere */
    static const slice prefix = slice_lit("INTEROP_");

    for (char **at = environ; *at != NULL; at++) {
        slice value, variable = slice_cut(slice_of(*at), '=', &value);
        char name[64];
        const char *near;
        size_t n = 0;
        if (!slice_starts(variable, prefix) || variable.len - prefix.len >= sizeof name) continue;
        for (slice rest = slice_from(variable, prefix.len); n < rest.len; n++)
            name[n] = rest.ptr[n] >= 'A' && rest.ptr[n] <= 'Z' ? (char)(rest.ptr[n] - 'A' + 'a') : rest.ptr[n];
        bool known = find_key((slice){ name, n }) != NULL;
        for (size_t i = 0; i < countof(others); i++) known |= slice_is((slice){ name, n }, others[i]);
        if (known) continue;
        near = words_nearest((slice){ name, n }, &keys[0].name, sizeof keys[0], countof(keys));
        if (near == NULL) continue;
        log_line(LOG_WARN, "config.unknown_variable", log_id("variable", variable), log_word("nearest", near),
                 log_word("means", "it has no effect"));
    }
}

void config_apply_log(const config *c)
{
    log_set_text(c->log_text);
    log_set_level(c->log_least);
}

void config_describe(buf *out)
{
    for (size_t i = 0; i < countof(keys); i++)
        buf_printf(out, "  %-19s %-15s %s\n", keys[i].name, keys[i].standard[0] == '\0' ? "-" : keys[i].standard,
                   keys[i].meaning);
}

/* engine/config.h -- how this process is set up: one file, with environment
 * variables on top. Connectors, rules and packs are not here but in the database.
 *
 *   # a comment                       every key `some_key` is also read from the
 *   http = 0.0.0.0:8080               environment variable INTEROP_SOME_KEY
 *   memory_bytes = 512MiB */
#ifndef ENGINE_CONFIG_H
#define ENGINE_CONFIG_H

#include "base/buf.h"
#include "base/log.h"

typedef struct config {
    const char *database_url;            /* of the engine's role; "" when not set */
    const char *owner_database_url;      /* migrate only; "" when not set */
    int64_t     database_patience;       /* ms that a statement may take */
    const char *http_host;               /* `http`, taken apart */
    uint16_t    http_port;
    const char *mllp_address;            /* of connectors that name none */
    const char *nats_url;                /* "": no broker */
    bool        log_text;                /* `log`: text instead of JSON */
    log_level   log_least;               /* `log_level` */
    int64_t     transform_threads;
    int64_t     script_bytes;            /* that the Lua states of one of them may keep between runs */
    int64_t     ingest_connections, result_connections;
    int64_t     memory_messages, memory_bytes;   /* most that the engine holds in memory */
    int64_t     lane_messages;           /* the same for one connector */
    int64_t     drain_ms;                /* of a clean stop */
    const char *admin_token;             /* "": /v1 answers loopback only */
    int64_t     event_window_hours;      /* published events stay replayable */
    const char *watch;                   /* folder of packs to push on change; "" */
} config;

/* Reads `file` (NULL: what INTEROP_CONFIG names, none if that is not set), then
 * the environment. ERR_CONFIG names file and line, or the variable, and what it takes. */
must_check err config_load(arena *mem, const char *file, config *out, err_info *why);

/* Puts `log` and `log_level` into force. */
void config_apply_log(const config *c);

/* Warns of a variable whose name is nearly that of a key: it has no effect. */
void config_check_environment(void);

/* "127.0.0.1:8080", "[::1]:8080", ":8080" (host "0.0.0.0") taken apart. */
must_check bool config_address(arena *mem, slice text, const char **host, uint16_t *port);

/* The table of keys for people: a line each with name, default and meaning. */
void config_describe(buf *out);

#endif

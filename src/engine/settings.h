/* engine/settings.h -- what a connector's `settings` (JSON) may say.
 *
 * The keys are a closed set, checked when they are written, so that the engine
 * never meets a wrong one: an unknown key, a wrong type or a value out of its
 * bounds is an error that names the key, what it takes, and the nearest known. */
#ifndef ENGINE_SETTINGS_H
#define ENGINE_SETTINGS_H

#include "base/json.h"
#include "hl7/path.h"

typedef enum ack_mode {
    ACK_MODE_AUTO,                       /* enhanced where MSH-15 or MSH-16 is valued */
    ACK_MODE_ORIGINAL, ACK_MODE_ENHANCED
} ack_mode;

typedef enum ack_level { ACK_LEVEL_STORED, ACK_LEVEL_MAPPED, ACK_LEVEL_DELIVERED } ack_level;

typedef struct connector_settings {
    /* acknowledgement and identity */
    ack_level level;                     /* `ack_level`: what a positive acknowledgement says of a message */
    int64_t  ack_deadline_ms;            /* beyond "stored": when AE says that it is not there yet */
    ack_mode mode;                       /* `ack_mode` */
    bool     accept_reused_ids;          /* `reused_ids`: "refuse" (default) or "accept" (promise P2) */
    hl7_path *key_paths;                 /* ordering key (promise P3); none: PID-3.1 with PID-3.4 of PID and MRG */
    size_t   key_path_count;
    slice    timezone;                   /* IANA name, empty: none */

    /* the listener */
    slice    address;                    /* used where the connector's `host` is empty; empty: the node's */
    int64_t  frame_cap;                  /* bytes of one message */
    int64_t  idle_ms;                    /* 0: a silent peer may stay */
    int64_t  frame_ms;                   /* for a frame that has begun */
    int64_t  max_connections;
    int64_t  max_in_flight;              /* messages of one connection not yet acknowledged */

    /* retries of a message or delivery */
    int64_t  max_attempts;
    int64_t  retry_base_ms, retry_cap_ms;

    /* quarantine: most rows and bytes kept */
    int64_t  quarantine_rows, quarantine_bytes;

    slice    script;                     /* JSON object given to the script, "{}" */

    /* TLS: PEM files on the engine's machine; empty: none */
    const char *tls_certificate, *tls_key, *tls_ca;      /* NULL when not set */
    const char *const *tls_names;        /* client certificates taken, NULL-terminated; NULL: any that tls_ca signed */

    int64_t  keep_days;                  /* 0: for ever */
} connector_settings;

/* Reads `text` (a JSON object; empty: all defaults) into `out`, in `mem`.
 * ERR_CONFIG says which key is wrong and what it takes. */
must_check err settings_parse(arena *mem, slice text, connector_settings *out, err_info *why);

/* Sets one key of a settings object from words of a command line, "frame_cap=4MiB":
 * sizes, durations and lists ("a,b") may be written as people do. The value is
 * checked alone; what must fit together, settings_parse checks in the whole.
 * `NAME=` removes the key. */
must_check err settings_set(arena *mem, json *object, slice assignment, err_info *why);

/* True when the system's time zone database has this name. */
bool timezone_exists(slice name);

/* The table of keys for people: a line each with name, default and meaning. */
void settings_describe(buf *out);

#endif

/* base/log.h -- one JSON line an event on standard error, safe for PHI.
 *
 *   log_line(LOG_WARN, "connector.port_in_use",
 *            log_id("connectorId", id_slice(&c->id)), log_int("port", c->port));
 *
 * A line can hold only what these constructors take: identifiers that we made,
 * numbers, words from our own source, and the text of an err_info (which never
 * holds a field's content). There is no way to log bytes of a message. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include "base/base.h"

typedef enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR } log_level;

typedef struct log_field {
    enum { LOG_F_END, LOG_F_ID, LOG_F_INT, LOG_F_WORD, LOG_F_WHY, LOG_F_NAME } kind;
    const char *key;
    slice       text;
    int64_t     number;
} log_field;

/* An identifier of ours or a configured name: letters, digits and any of _-.:^[] and the slash and star,
 * at most 200 bytes; anything else is written as "?". */
static inline log_field log_id(const char *key, slice v)
{
    return (log_field){ .kind = LOG_F_ID, .key = key, .text = v };
}
static inline log_field log_int(const char *key, int64_t v)
{
    return (log_field){ .kind = LOG_F_INT, .key = key, .number = v };
}
/* A literal of our source. */
static inline log_field log_word(const char *key, const char *v)
{
    return (log_field){ .kind = LOG_F_WORD, .key = key, .text = slice_of(v) };
}
static inline log_field log_why(const err_info *why)
{
    return (log_field){ .kind = LOG_F_WHY, .key = "error", .text = slice_of(why->text) };
}

#define log_line(level, event, ...) \
    log_write((level), (event), (const log_field[]){ { .kind = LOG_F_END }, ##__VA_ARGS__, { .kind = LOG_F_END } } + 1)

/* Any thread. `fields` ends with LOG_F_END. */
void log_write(log_level level, const char *event, const log_field *fields);

/* Lines below `level` are not written. At first: LOG_INFO. */
void log_set_level(log_level level);
must_check bool log_level_parse(slice text, log_level *out);

/* People at a terminal get text instead of JSON. */
void log_set_text(bool text);

#endif

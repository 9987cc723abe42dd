/* base/log.c -- each line is built whole and written with one write(2). */
#include "base/log.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

static _Atomic int least = LOG_INFO;
static _Atomic bool as_text;

static const char *const level_names[] = { "debug", "info", "warn", "error" };

void log_set_level(log_level level) { least = (int)level; }
void log_set_text(bool text) { as_text = text; }

bool log_level_parse(slice text, log_level *out)
{
    for (size_t i = 0; i < countof(level_names); i++) {
        if (!slice_is(text, level_names[i])) continue;
        *out = (log_level)i;
        return true;
    }
    return false;
}

static bool is_identifier(slice s)
{
    if (s.len == 0 || s.len > 200) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!plain && (c == '\0' || strchr("_-.:/*^[]", c) == NULL)) return false;
    }
    return true;
}

static void put_value(buf *b, const log_field *f, bool text)
{
    slice v = f->text;

    if (f->kind == LOG_F_INT) { buf_int(b, f->number); return; }
    if (f->kind == LOG_F_ID && !is_identifier(v)) v = slice_lit("?");
    if (text && f->kind != LOG_F_WHY) buf_put(b, v);
    else buf_json(b, v);
}

void log_write(log_level level, const char *event, const log_field *fields)
{
    char when[CLOCK_TEXT_LEN + 1];
    bool text = as_text;
    buf b = buf_in(NULL);

    if ((int)level < least) return;
    (void)clock_text(clock_real_us(), when);
    if (text) buf_printf(&b, "%s %-5s %s", when, level_names[level], event);
    else buf_printf(&b, "{\"time\":\"%s\",\"level\":\"%s\",\"event\":\"%s\"", when, level_names[level], event);
    for (const log_field *f = fields; f->kind != LOG_F_END; f++) {
        if (text) buf_printf(&b, " %s=", f->key);
        else buf_printf(&b, ",\"%s\":", f->key);
        put_value(&b, f, text);
    }
    buf_puts(&b, text ? "\n" : "}\n");
    (void)!write(STDERR_FILENO, b.ptr, b.len);   /* nowhere to say that the log is gone */
    buf_free(&b);
}

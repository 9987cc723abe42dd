/* engine/settings.c -- one table of keys; checking, reading, setting and
 * describing all follow it. */
#include "engine/settings.h"

#include "engine/words.h"
#include "script/timezone.h"

typedef enum kind {
    KIND_INT, KIND_SIZE, KIND_DURATION,  /* JSON numbers between `least` and `most` */
    KIND_WORD,                           /* one of `words` */
    KIND_ADDRESS, KIND_ZONE, KIND_FILE,  /* strings */
    KIND_NAMES, KIND_PATHS,              /* arrays of strings */
    KIND_OBJECT
} kind;

typedef struct key {
    const char *name;
    kind        kind;
    size_t      at;                      /* offset in connector_settings */
    int64_t     least, most, standard;
    const char *words[4];                /* KIND_WORD; the first is the default */
    const char *meaning;
} key;

#define AT(member) offsetof(connector_settings, member)
#define DAY_MS INT64_C(86400000)
#define MIB (INT64_C(1) << 20)

static const key keys[] = {
    { "ack_level", KIND_WORD, AT(level), 0, 0, 0, { "stored", "mapped", "delivered" },
      "when the sender is told yes: once the message is committed, transformed, or delivered" },
    { "ack_deadline", KIND_DURATION, AT(ack_deadline_ms), 100, 600000, 20000, { NULL },
      "mapped, delivered: if it is not by then, the answer is AE; the message is kept and worked on" },
    { "ack_mode", KIND_WORD, AT(mode), 0, 0, 0, { "auto", "original", "enhanced" },
      "auto: enhanced where MSH-15 or MSH-16 is valued" },
    { "reused_ids", KIND_WORD, AT(accept_reused_ids), 0, 0, 0, { "refuse", "accept" },
      "a control id that comes again with other content" },
    { "key_paths", KIND_PATHS, AT(key_paths), 0, 0, 0, { NULL },
      "HL7 paths that make the ordering key; none: the patient (PID-3.1 with PID-3.4, MRG-1)" },
    { "timezone", KIND_ZONE, AT(timezone), 0, 0, 0, { NULL },
      "IANA name, for times without an offset" },
    { "address", KIND_ADDRESS, AT(address), 0, 0, 0, { NULL },
      "listens on this address where the connector has no host; default: mllp_address of the node" },
    { "frame_cap", KIND_SIZE, AT(frame_cap), 1024, 256 * MIB, 16 * MIB, { NULL }, "largest message" },
    { "idle_ms", KIND_DURATION, AT(idle_ms), 0, 30 * DAY_MS, 0, { NULL },
      "a silent connection is closed after this; 0: never" },
    { "frame_ms", KIND_DURATION, AT(frame_ms), 10, DAY_MS, 30000, { NULL },
      "a message that has begun must end within this" },
    { "max_connections", KIND_INT, AT(max_connections), 1, 20000, 1000, { NULL }, "peers at a time" },
    { "max_in_flight", KIND_INT, AT(max_in_flight), 1, 4096, 64, { NULL },
      "messages of one connection that are not yet acknowledged" },
    { "max_attempts", KIND_INT, AT(max_attempts), 1, 1000, 5, { NULL },
      "tries of a message or delivery before it is dead-lettered" },
    { "retry_base_ms", KIND_DURATION, AT(retry_base_ms), 1, DAY_MS, 1000, { NULL },
      "before the second try; doubles from there" },
    { "retry_cap_ms", KIND_DURATION, AT(retry_cap_ms), 1, 30 * DAY_MS, 300000, { NULL }, "longest wait between tries" },
    { "quarantine_rows", KIND_INT, AT(quarantine_rows), 0, 10000000, 10000, { NULL }, "most rows kept in quarantine" },
    { "quarantine_bytes", KIND_SIZE, AT(quarantine_bytes), 0, 1024 * 1024 * MIB, 256 * MIB, { NULL },
      "most bytes kept in quarantine" },
    { "script", KIND_OBJECT, AT(script), 0, 0, 0, { NULL }, "JSON object that the script sees as msg.settings" },
    { "tls_certificate", KIND_FILE, AT(tls_certificate), 0, 0, 0, { NULL }, "PEM file with the chain" },
    { "tls_key", KIND_FILE, AT(tls_key), 0, 0, 0, { NULL }, "PEM file of the private key" },
    { "tls_ca", KIND_FILE, AT(tls_ca), 0, 0, 0, { NULL },
      "PEM file of who signs the peers; with it a client certificate is demanded" },
    { "tls_names", KIND_NAMES, AT(tls_names), 0, 0, 0, { NULL },
      "client certificates that are let in; none: all that tls_ca signed" },
    { "keep_days", KIND_INT, AT(keep_days), 1, 36500, 0, { NULL }, "messages are deleted after this; none: never" },
};

static const key *find_key(slice name)
{
    for (size_t i = 0; i < countof(keys); i++)
        if (slice_is(name, keys[i].name)) return &keys[i];
    return NULL;
}

static err unknown_key(slice name, err_info *why)
{
    return err_set(why, ERR_CONFIG, "unknown setting \"%s\"%s", words_show(name).text,
                   words_suggest(name, &keys[0].name, sizeof keys[0], countof(keys)).text);
}

/* What a key takes, for the text of an error. */
static void put_takes(buf *out, const key *k)
{
    switch (k->kind) {
    case KIND_INT:
        buf_printf(out, "a number from %lld to %lld", (long long)k->least, (long long)k->most);
        return;
    case KIND_SIZE:
        buf_puts(out, "a size from ");
        words_put_size(out, k->least);
        buf_puts(out, " to ");
        words_put_size(out, k->most);
        return;
    case KIND_DURATION:
        buf_puts(out, "a time from ");
        words_put_duration(out, k->least);
        buf_puts(out, " to ");
        words_put_duration(out, k->most);
        return;
    case KIND_WORD:
        for (size_t i = 0; k->words[i] != NULL; i++) buf_printf(out, "%s\"%s\"", i > 0 ? " or " : "", k->words[i]);
        return;
    case KIND_ADDRESS: buf_puts(out, "an IP address or host name"); return;
    case KIND_ZONE:    buf_puts(out, "a name of the time zone database, such as Europe/Berlin"); return;
    case KIND_FILE:    buf_puts(out, "the path of a PEM file, from the root"); return;
    case KIND_NAMES:   buf_puts(out, "a list of names"); return;
    case KIND_PATHS:   buf_puts(out, "a list of HL7 paths, such as PID-3.1"); return;
    case KIND_OBJECT:  buf_puts(out, "a JSON object"); return;
    }
}

static err wrong_value(const key *k, err_info *why)
{
    buf takes = buf_in(NULL);
    err e;

    put_takes(&takes, k);
    e = err_set(why, ERR_CONFIG, "%s takes %.*s", k->name, (int)takes.len, takes.ptr);
    buf_free(&takes);
    return e;
}

/* What a parser said in `why`, told as a fault of the setting `name`. */
static err config_error(err_info *why, const char *name)
{
    if (why == NULL) return ERR_CONFIG;
    (void)err_prefix(why, "%s", name);
    return why->code = ERR_CONFIG;
}

bool timezone_exists(slice name)
{
    const zone *z;
    return zone_get(name, &z, NULL) == ERR_OK;
}

static bool is_address(slice s)
{
    if (s.len == 0 || s.len > 253) return false;
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] <= ' ' || s.ptr[i] == 0x7f || strchr("/@?#", s.ptr[i]) != NULL) return false;
    return true;
}

/* ---- one value -------------------------------------------------------------- */

static err read_word(const key *k, slice text, connector_settings *out, err_info *why)
{
    for (int i = 0; k->words[i] != NULL; i++) {
        if (!slice_is(text, k->words[i])) continue;
        if (k->at == AT(level)) out->level = (ack_level)i;
        else if (k->at == AT(mode)) out->mode = (ack_mode)i;
        else out->accept_reused_ids = i == 1;
        return ERR_OK;
    }
    return wrong_value(k, why);
}

static err read_paths(arena *mem, const key *k, const json *v, connector_settings *out, err_info *why)
{
    out->key_paths = arena_array(mem, hl7_path, v->count + 1);
    out->key_path_count = 0;
    for (const json *item = v->child; item != NULL; item = item->next) {
        hl7_path *path = &out->key_paths[out->key_path_count];
        if (item->type != JSON_STRING) return wrong_value(k, why);
        if (hl7_path_parse(item->text, path, why) != ERR_OK) return config_error(why, "key_paths");
        if (path->field == 0)
            return err_set(why, ERR_CONFIG, "key_paths: \"%s\" names a segment and no field",
                           words_show(item->text).text);
        out->key_path_count++;
    }
    return ERR_OK;
}

static err read_names(arena *mem, const key *k, const json *v, connector_settings *out, err_info *why)
{
    const char **names = arena_array(mem, const char *, v->count + 1);
    size_t n = 0;

    for (const json *item = v->child; item != NULL; item = item->next) {
        if (item->type != JSON_STRING || item->text.len == 0 || memchr(item->text.ptr, '\0', item->text.len) != NULL)
            return wrong_value(k, why);
        names[n++] = arena_cstr(mem, item->text);
    }
    out->tls_names = n == 0 ? NULL : names;
    return ERR_OK;
}

/* `v` is not null. */
static err read_value(arena *mem, const key *k, const json *v, connector_settings *out, err_info *why)
{
    static const json_type types[] = {
        [KIND_INT] = JSON_NUMBER, [KIND_SIZE] = JSON_NUMBER, [KIND_DURATION] = JSON_NUMBER,
        [KIND_WORD] = JSON_STRING, [KIND_ADDRESS] = JSON_STRING, [KIND_ZONE] = JSON_STRING,
        [KIND_FILE] = JSON_STRING, [KIND_NAMES] = JSON_ARRAY, [KIND_PATHS] = JSON_ARRAY, [KIND_OBJECT] = JSON_OBJECT,
    };
    void *member = (char *)out + k->at;
    buf text = buf_in(mem);
    int64_t n;

    if (v->type != types[k->kind]) return wrong_value(k, why);
    switch (k->kind) {
    case KIND_INT: case KIND_SIZE: case KIND_DURATION:
        if (!slice_int(v->text, &n) || n < k->least || n > k->most) return wrong_value(k, why);
        *(int64_t *)member = n;
        return ERR_OK;
    case KIND_WORD:
        return read_word(k, v->text, out, why);
    case KIND_ADDRESS:
        if (!is_address(v->text)) return wrong_value(k, why);
        *(slice *)member = arena_dup(mem, v->text);
        return ERR_OK;
    case KIND_ZONE:
        if (!timezone_exists(v->text))
            return err_set(why, ERR_CONFIG, "timezone \"%s\" is not in the time zone database (tzdata): "
                           "use a name such as Europe/Berlin", words_show(v->text).text);
        *(slice *)member = arena_dup(mem, v->text);
        return ERR_OK;
    case KIND_FILE:
        if (v->text.len == 0 || v->text.ptr[0] != '/' || memchr(v->text.ptr, '\0', v->text.len) != NULL)
            return wrong_value(k, why);
        *(const char **)member = arena_cstr(mem, v->text);
        return ERR_OK;
    case KIND_NAMES:
        return read_names(mem, k, v, out, why);
    case KIND_PATHS:
        return read_paths(mem, k, v, out, why);
    case KIND_OBJECT:
        json_write(&text, v);
        *(slice *)member = buf_slice(&text);
        return ERR_OK;
    }
    return ERR_OK;
}

/* ---- the whole ---------------------------------------------------------------- */

static void set_standards(connector_settings *out)
{
    *out = (connector_settings){ .timezone = slice_lit(""),
                                 .script = slice_lit("{}") };
    for (size_t i = 0; i < countof(keys); i++)
        if (keys[i].kind <= KIND_DURATION) *(int64_t *)(void *)((char *)out + keys[i].at) = keys[i].standard;
}

static err check_together(const connector_settings *s, err_info *why)
{
    if ((s->tls_certificate == NULL) != (s->tls_key == NULL))
        return err_set(why, ERR_CONFIG, "tls_certificate and tls_key belong together: %s is missing",
                       s->tls_key == NULL ? "tls_key" : "tls_certificate");
    if (s->tls_ca != NULL && s->tls_certificate == NULL)
        return err_set(why, ERR_CONFIG, "tls_ca demands a certificate of the peer, so the listener needs one too: "
                       "set tls_certificate and tls_key");
    if (s->tls_names != NULL && s->tls_ca == NULL)
        return err_set(why, ERR_CONFIG, "tls_names needs tls_ca: without it no client certificate is asked for");
    if (s->retry_cap_ms < s->retry_base_ms)
        return err_set(why, ERR_CONFIG, "retry_cap_ms is less than retry_base_ms");
    return ERR_OK;
}

err settings_parse(arena *mem, slice text, connector_settings *out, err_info *why)
{
    json *object;

    set_standards(out);
    if (text.len == 0) return ERR_OK;
    if (json_parse(mem, text, &object, why) != ERR_OK) return config_error(why, "settings");
    if (object->type != JSON_OBJECT) return err_set(why, ERR_CONFIG, "settings must be a JSON object");
    for (const json *v = object->child; v != NULL; v = v->next) {
        const key *k = find_key(v->key);
        if (k == NULL) return unknown_key(v->key, why);
        if (v->type == JSON_NULL) continue;                  /* the default */
        err e = read_value(mem, k, v, out, why);
        if (e != ERR_OK) return e;
    }
    return check_together(out, why);
}

/* ---- from the command line ------------------------------------------------------ */

static json *split_list(arena *mem, slice text)
{
    json *array = json_new(mem, JSON_ARRAY);

    while (text.ptr != NULL) {
        slice item = slice_trim(slice_cut(text, ',', &text));
        if (item.len > 0) json_push(array, json_string(mem, item));
    }
    return array;
}

err settings_set(arena *mem, json *object, slice assignment, err_info *why)
{
    slice text, name = slice_cut(assignment, '=', &text);
    connector_settings unused;
    const key *k;
    json *value;
    int64_t n;
    err e;

    name = slice_trim(name);
    k = find_key(name);
    if (k == NULL) return unknown_key(name, why);
    if (text.ptr == NULL) return err_set(why, ERR_CONFIG, "%s has no value: write %s=VALUE", k->name, k->name);
    text = arena_dup(mem, slice_trim(text));
    if (text.len == 0) {
        json_remove(object, slice_of(k->name));
        return ERR_OK;
    }
    switch (k->kind) {
    case KIND_INT: case KIND_SIZE: case KIND_DURATION:
        if (k->kind == KIND_INT ? !slice_int(text, &n)
                                : k->kind == KIND_SIZE ? !words_size(text, &n) : !words_duration(text, &n))
            return wrong_value(k, why);
        value = json_int(mem, n);
        break;
    case KIND_NAMES: case KIND_PATHS:
        value = split_list(mem, text);
        break;
    case KIND_OBJECT:
        if (json_parse(mem, text, &value, NULL) != ERR_OK) return wrong_value(k, why);
        break;
    default:
        value = json_string(mem, text);
        break;
    }
    e = read_value(mem, k, value, &unused, why);
    if (e == ERR_OK) json_set(object, slice_of(k->name), value);
    return e;
}

void settings_describe(buf *out)
{
    for (size_t i = 0; i < countof(keys); i++) {
        const key *k = &keys[i];
        buf standard = buf_in(NULL);
        if (k->kind == KIND_WORD) buf_puts(&standard, k->words[0]);
        else if (k->kind == KIND_SIZE) words_put_size(&standard, k->standard);
        else if (k->kind == KIND_DURATION) words_put_duration(&standard, k->standard);
        else if (k->kind == KIND_INT && k->standard > 0) buf_int(&standard, k->standard);
        else buf_putc(&standard, '-');
        buf_printf(out, "  %-17s %-9.*s %s\n", k->name, (int)standard.len, standard.ptr, k->meaning);
        buf_free(&standard);
    }
}

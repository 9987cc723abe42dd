/* cli/cli_map.c -- `interop map`: what a pack makes of messages, without a database.
 *
 * The same sandbox, limits and Bundle as in the server, where everything is new:
 * each resource is a POST, with its ifNoneExist. The time of receipt is always
 * 1970, so that the same files give the same bytes. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>

#include "cli/cli.h"
#include "engine/pack_folder.h"
#include "fhir/bundle.h"
#include "hl7/batch.h"
#include "hl7/head.h"
#include "hl7/text.h"
#include "script/code_table.h"
#include "script/vm.h"

enum { FILES_MAX = 4096 };

typedef struct mapper {
    pack       *pack;
    vm_scope    scope;
    vm         *vm;                      /* opened again after a spent budget */
    bool        all;
    const char *file;
    size_t      number;                  /* of the message in its file, from 1; 0: none */
    size_t      failures;
    arena       mem;                     /* one message's */
} mapper;

static void tell(const mapper *m, const char *what, slice text)
{
    (void)fflush(stdout);
    if (m->number > 0) (void)fprintf(stderr, "interop map: %s: message %zu: ", m->file, m->number);
    else (void)fprintf(stderr, "interop map: %s: ", m->file);
    (void)fprintf(stderr, "%s%.*s\n", what, (int)text.len, text.ptr);
}

static void fail(mapper *m, const char *text)
{
    tell(m, "", slice_of(text));
    m->failures++;
}

/* ---- writing ------------------------------------------------------------------------------- */

/* A resource that goes to several services is one entry. */
static bool is_first(const script_result *r, const script_resource *entry)
{
    for (const script_resource *s = r->resources; s != entry; s = s->next)
        if (slice_eq(s->full_url, entry->full_url)) return false;
    return true;
}

static void write_bundle(mapper *m, buf *out, const script_result *r, slice control_id)
{
    fhir_bundle_entry *entries = arena_array(&m->mem, fhir_bundle_entry, r->resource_count + 1);
    size_t n = 0;

    for (const script_resource *s = r->resources; s != NULL; s = s->next) {
        if (!is_first(r, s)) continue;
        entries[n++] = (fhir_bundle_entry){ .full_url = s->full_url, .resource = s->resource,
                                            .method = slice_lit("POST"), .url = s->type,
                                            .if_none_exist = s->if_none_exist };
    }
    fhir_bundle_write(out, SLICE_NONE, control_id, entries, n);
}

static void write_pair(buf *out, const char *first, slice a, const char *second, slice b)
{
    buf_printf(out, "{\"%s\":", first);
    buf_json(out, a);
    buf_printf(out, ",\"%s\":", second);
    buf_json(out, b);
    buf_putc(out, '}');
}

static void write_all(mapper *m, buf *out, const script_result *r, slice control_id)
{
    const char *between = "";

    buf_puts(out, "{\"bundle\":");
    write_bundle(m, out, r, control_id);
    buf_puts(out, ",\"routes\":[");
    for (const script_resource *s = r->resources; s != NULL; s = s->next) {
        if (s->to.len == 0) continue;
        buf_puts(out, between);
        write_pair(out, "fullUrl", s->full_url, "to", s->to);
        between = ",";
    }
    buf_puts(out, "],\"hl7\":[");
    between = "";
    for (const script_hl7 *h = r->hl7; h != NULL; h = h->next, between = ",") {
        buf_puts(out, between);
        write_pair(out, "connector", h->connector, "text", h->bytes);
    }
    buf_puts(out, "],\"events\":[");
    between = "";
    for (const script_event *e = r->events; e != NULL; e = e->next, between = ",") {
        buf_puts(out, between);
        buf_puts(out, "{\"type\":");
        buf_json(out, e->type);
        if (e->data != NULL) {
            buf_puts(out, ",\"data\":");
            json_write(out, e->data);
        }
        buf_putc(out, '}');
    }
    buf_putc(out, ']');
    if (r->refused || r->skipped) {
        buf_puts(out, r->refused ? ",\"refused\":" : ",\"skipped\":");
        buf_json(out, r->reason);
    }
    buf_putc(out, '}');
}

static void write_result(mapper *m, const script_result *r, slice control_id)
{
    buf out = buf_in(&m->mem);

    if (r->refused) m->failures++;
    if (!m->all && (r->refused || r->skipped)) {
        tell(m, r->refused ? "refused: " : "skipped: ", r->reason);
        return;
    }
    if (m->all) write_all(m, &out, r, control_id);
    else write_bundle(m, &out, r, control_id);
    buf_putc(&out, '\n');
    (void)fwrite(out.ptr, 1, out.len, stdout);
}

/* ---- one message ------------------------------------------------------------------------------ */

/* UTF-16 cannot be parsed before it is decoded, other sets only by what MSH-18 says. */
static err open_message(arena *mem, slice bytes, hl7_msg **out, err_info *why)
{
    slice charset = SLICE_NONE, text;
    char repetition = '~';
    bool exact;

    if (hl7_parse(mem, bytes, out, NULL) == ERR_OK) {
        charset = hl7_field(*out, 0, 18);
        repetition = hl7_delims_of(*out)->repetition;
    }
    hl7_decode(mem, bytes, charset, repetition, &text, &exact);
    return hl7_parse(mem, text, out, why);
}

static void map_message(mapper *m, slice bytes)
{
    script_result result;
    hl7_msg *msg;
    hl7_head head;
    err_info why;

    if (open_message(&m->mem, bytes, &msg, &why) != ERR_OK ||
        (m->vm == NULL && vm_open(m->pack, &m->scope, &VM_DEFAULT_LIMITS, &m->vm, &why) != ERR_OK)) {
        fail(m, why.text);
        return;
    }
    hl7_head_read(msg, &head);
    slice control_id = hl7_unescape(&m->mem, msg, head.control_id);
    vm_input input = { .msg = msg, .message_id = control_id };
    err e = vm_transform(m->vm, &input, &m->mem, &result, &why);
    if (e == ERR_OK) {
        write_result(m, &result, control_id);
        return;
    }
    fail(m, why.text);
    if (e != ERR_BUDGET) return;
    vm_close(m->vm);
    m->vm = NULL;
}

static bool is_wide(slice bytes)
{
    return bytes.len >= 4 && (slice_starts(bytes, slice_lit("\xFF\xFE")) ||
                              slice_starts(bytes, slice_lit("\xFE\xFF")) || memchr(bytes.ptr, 0, 4) != NULL);
}

static void map_file(mapper *m, slice bytes)
{
    slice message, stray;
    size_t offset;
    hl7_batch b;

    if (is_wide(bytes)) {                /* no lines that the batch could cut: one message */
        m->number = 1;
        map_message(m, bytes);
        arena_reset(&m->mem);
        return;
    }
    hl7_batch_open(&b, bytes);
    for (;;) {
        bool more = hl7_batch_next(&b, &message, &offset, &stray);
        m->number = 0;
        if (stray.ptr != NULL) fail(m, "text that belongs to no message: no MSH segment");
        if (!more) break;
        m->number = b.messages;
        map_message(m, message);
        arena_reset(&m->mem);
    }
    if (b.messages == 0 && stray.ptr == NULL) fail(m, "holds no message");
}

/* ---- what is given with the pack ---------------------------------------------------------------- */

static err read_overlay(arena *mem, const char *path, slice name, buf *out, err_info *why)
{
    code_table table;
    slice text;

    err e = cli_read_file(mem, path, &text, why);
    if (e != ERR_OK) return e;
    if (code_table_read(mem, name, text, &table, why) != ERR_OK) return err_prefix(why, "%s", path);
    if (out->len > 1) buf_putc(out, ',');
    code_overlay_write(out, &table);
    return ERR_OK;
}

/* The CSV files of a folder as an overlay over the pack's tables. */
static err read_tables(arena *mem, const char *folder, slice *out, err_info *why)
{
    buf text = buf_in(mem);
    struct dirent *entry;
    err e = ERR_OK;

    DIR *dir = opendir(folder);
    if (dir == NULL) return err_set(why, ERR_IO, "cannot read %s: %s", folder, strerror(errno));
    buf_putc(&text, '{');
    while (e == ERR_OK && (entry = readdir(dir)) != NULL) {
        slice name = slice_of(entry->d_name);
        if (name.len <= 4 || !slice_is(slice_from(name, name.len - 4), ".csv")) continue;
        const char *path = arena_printf(mem, "%s/%s", folder, entry->d_name).ptr;
        e = read_overlay(mem, path, arena_dup(mem, (slice){ name.ptr, name.len - 4 }), &text, why);
    }
    (void)closedir(dir);
    buf_putc(&text, '}');
    *out = buf_slice(&text);
    return e;
}

static err open_pack(arena *mem, const char *folder, pack **out, err_info *why)
{
    const char *lua_dir;
    slice archive;

    err e = pack_folder_lua_dir(mem, &lua_dir, why);
    if (e == ERR_OK) e = pack_folder_read(mem, folder, lua_dir, &archive, why);
    return e == ERR_OK ? pack_open(archive, NULL, out, why) : e;
}

static err prepare(mapper *m, arena *mem, const char *folder, const char *tables, const char *settings,
                   err_info *why)
{
    err e = open_pack(mem, folder, &m->pack, why);

    if (e == ERR_OK && tables != NULL) e = read_tables(mem, tables, &m->scope.tables, why);
    if (e == ERR_OK && settings != NULL) e = cli_read_file(mem, settings, &m->scope.settings, why);
    if (e == ERR_OK) e = vm_open(m->pack, &m->scope, &VM_DEFAULT_LIMITS, &m->vm, why);
    return e;
}

static int run_map(int argc, char **argv)
{
    const char *words[FILES_MAX], *tables = NULL, *zone = NULL, *settings = NULL;
    const char *tenant = "local", *connector = "map";
    bool all = false;
    const cli_option options[] = {
        { .name = "--all", .flag = &all },          { .name = "--tables", .value = &tables },
        { .name = "--timezone", .value = &zone },   { .name = "--settings", .value = &settings },
        { .name = "--tenant", .value = &tenant },   { .name = "--connector", .value = &connector },
    };
    int count = 0, code = EXIT_WELL;
    arena mem = { 0 };
    err_info why;

    if (!cli_parse_options(&cli_map, argc, argv, options, countof(options), words, FILES_MAX, &count))
        return EXIT_USAGE;
    if (count < 2) return cli_usage(&cli_map, "name a pack's folder and files with HL7 messages");
    mapper m = { .all = all, .scope = { .tenant = slice_of(tenant), .connector_id = slice_of(connector),
                                        .connector_name = slice_of(connector),
                                        .timezone = slice_of(zone) } };
    if (prepare(&m, &mem, words[0], tables, settings, &why) != ERR_OK) {
        code = cli_fail(&cli_map, &why);
    }
    for (int i = 1; i < count && code == EXIT_WELL; i++) {
        arena kept = { 0 };
        slice bytes;
        m.file = words[i];
        m.number = 0;
        if (cli_read_file(&kept, words[i], &bytes, &why) == ERR_OK) map_file(&m, bytes);
        else fail(&m, why.text);
        arena_free(&kept);
    }
    if (code == EXIT_WELL && m.failures > 0) code = EXIT_FINDINGS;
    vm_close(m.vm);
    pack_drop(m.pack);
    arena_free(&m.mem);
    arena_free(&mem);
    return code;
}

const cli_command cli_map = {
    .name = "map",
    .arguments = "PACK FILE… [--all] [--tables DIR] [--timezone ZONE] [--settings FILE]",
    .summary = "maps messages without a database: a transaction Bundle a line",
    .run = run_map,
    .help = "  --all             also what would be routed, sent and emitted, refused and skipped:\n"
            "                    {\"bundle\":…,\"routes\":[…],\"hl7\":[…],\"events\":[…]} a line\n"
            "  --tables DIR      CSV files whose rows are laid over the pack's code tables\n"
            "  --timezone ZONE   IANA zone of times without an offset, such as Europe/Berlin\n"
            "  --settings FILE   the pack's settings, a JSON object\n"
            "  --tenant NAME     --connector NAME: they stand in identifiers that are made\n"
            "A message that fails is one line on standard error, and the rest go on.\n",
};

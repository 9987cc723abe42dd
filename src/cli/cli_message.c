/* cli/cli_message.c -- interop message list|show|replay|release|skip. */
#include <stdio.h>

#include "base/json.h"
#include "cli/admin.h"
#include "hl7/json.h"
#include "store/messages.h"

static int run_list(int argc, char **argv);
static int run_show(int argc, char **argv);
static int run_replay(int argc, char **argv);
static int run_release(int argc, char **argv);
static int run_skip(int argc, char **argv);

static const cli_command verbs[] = {
    { "message list", "--tenant TENANT [--connector NAME] [--status STATUS] [--type TYPE] [--control-id ID] [--limit N]",
      "the messages, newest first", run_list,
      ADMIN_HELP
      "  --connector NAME  of this connector (name or id)\n"
      "  --status STATUS   pending, processing, processed, failed or dead_lettered\n"
      "  --type TYPE       MSH-9, such as ADT^A01; ADT for all of its events\n"
      "  --control-id ID   MSH-10 as it was sent\n"
      "  --limit N         at most so many (50)\n"
      "  --before ID       older than this message: the next page\n"
      "  --payload         with rawPayload and parsedData (json)\n" },
    { "message show", "ID --tenant TENANT [--format text|json|raw|parsed]",
      "one message, what became of it and what it says", run_show,
      ADMIN_HELP
      "  --format raw      exactly the bytes that came in\n"
      "  --format parsed   the message rebuilt from parsedData\n" },
    { "message replay", "ID… --tenant TENANT [--by now|then] [--force]", "has messages transformed and delivered again", run_replay,
      ADMIN_HELP
      "  --by now|then     the pack that transforms it: the connector's (default), or the one of then\n"
      "  --force           also where a later message of the same key was processed\n" },
    { "message release", "ID… --tenant TENANT", "has what failed tried at once, without waiting for its next attempt", run_release,
      ADMIN_HELP },
    { "message skip", "ID… --tenant TENANT", "ends messages as dead-lettered, so that what waits behind them goes", run_skip,
      ADMIN_HELP },
};

/* ---- list -------------------------------------------------------------------------- */

static slice opt(const char *text) { return text == NULL ? SLICE_NONE : slice_of(text); }

/* "ADT^*" is "ADT", "*" is all. */
static slice type_filter(const char *text)
{
    slice type = opt(text);

    if (slice_is(type, "*")) return SLICE_NONE;
    if (type.len > 2 && memcmp(type.ptr + type.len - 2, "^*", 2) == 0) type.len -= 2;
    return type;
}

static void print_list(admin *a, const message_row *rows, size_t count, int64_t limit)
{
    static const char *const heads[] = {
        "RECEIVED", "ID", "CONNECTOR", "TYPE", "CONTROL ID", "FROM", "STATUS", "TRIES", "ERROR"
    };
    table *t = table_new(&a->mem, heads, countof(heads));

    for (size_t i = 0; i < count; i++) {
        const message_row *m = &rows[i];
        buf line = buf_in(&a->mem);
        if (a->json) {
            message_json_begin(&line, m);
            row_end(&line);
            admin_print(&line);
            continue;
        }
        table_add(t, (slice){ m->received_at.ptr, m->received_at.len < 19 ? m->received_at.len : 19 });
        table_add(t, m->id);
        table_add(t, m->connector_name);
        table_add(t, m->message_type);
        table_add(t, m->sent_control_id.ptr != NULL ? m->sent_control_id : m->control_id);
        table_add(t, m->sending_app);
        table_add(t, m->status);
        table_add_int(t, m->attempt_count);
        table_add(t, m->error_detail);
    }
    if (a->json) return;
    if (count == 0) (void)puts("no messages");
    else table_print(t);
    if (count > 0 && (int64_t)count == limit) {
        const slice *last = &rows[count - 1].id;
        (void)fprintf(stderr, "the next page: --before %.*s\n", (int)last->len, last->ptr);
    }
}

static int run_list(int argc, char **argv)
{
    static const char *const statuses = " pending processing processed failed dead_lettered ";
    admin_options o = { NULL, NULL, NULL };
    const char *connector = NULL, *status = NULL, *type = NULL, *control_id = NULL, *limit = NULL, *before = NULL;
    bool payload = false;
    const cli_option options[] = {
        ADMIN_OPTIONS(o),
        { "--connector", &connector, NULL, NULL, 0 }, { "--status", &status, NULL, NULL, 0 },
        { "--type", &type, NULL, NULL, 0 }, { "--control-id", &control_id, NULL, NULL, 0 },
        { "--limit", &limit, NULL, NULL, 0 }, { "--before", &before, NULL, NULL, 0 },
        { "--payload", NULL, &payload, NULL, 0 },
    };
    const char *words[1];
    int word_count, code = EXIT_USAGE;
    message_filter filter;
    message_row *rows;
    size_t count;
    admin a;

    if (!cli_parse_options(&verbs[0], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (status != NULL && strstr(statuses, status) == NULL)
        return cli_usage(&verbs[0], "--status is one of%s", statuses);
    if (admin_open(&a, &verbs[0], &o, true, &code)) {
        filter = (message_filter){ .connector = opt(connector), .status = opt(status), .type = type_filter(type),
                                   .control_id = opt(control_id), .before = opt(before), .payload = payload };
        code = EXIT_USAGE;
        if (admin_int(&a, "--limit", limit, 50, 1, 1000000, &filter.limit)) {
            err e = db_begin(a.db, a.tenant, &a.why);
            if (e == ERR_OK) e = messages_list(a.db, &a.mem, &filter, &rows, &count, &a.why);
            if (e == ERR_OK) e = db_commit(a.db, &a.why);
            if (e == ERR_OK) print_list(&a, rows, count, filter.limit);
            code = admin_end(&a, e);
        }
    }
    admin_close(&a);
    return code;
}

/* ---- show -------------------------------------------------------------------------- */

static void print_line(const char *name, slice value)
{
    if (value.len == 0) return;
    (void)printf("%-14s", name);
    admin_print_text(value);
    (void)putchar('\n');
}

static void print_links(const json *links)
{
    for (const json *l = links == NULL ? NULL : links->child; l != NULL; l = l->next) {
        slice type = json_text(l, "resourceType"), id = json_text(l, "resourceId"), action = json_text(l, "action");
        (void)printf("                  %.*s/%.*s %.*s\n", (int)type.len, type.ptr, (int)id.len, id.ptr,
                     (int)action.len, action.ptr);
    }
}

static void print_fate(admin *a, const message_fate *fate)
{
    json *list_of;

    if (json_parse(&a->mem, fate->deliveries, &list_of, NULL) != ERR_OK) return;
    for (const json *v = list_of->child; v != NULL; v = v->next) {
        slice status = json_text(v, "status"), url = json_text(v, "serviceUrl"), error = json_text(v, "errorDetail");
        const json *tries = json_get(v, "attemptCount");
        (void)printf("%-14s%.*s to %.*s, %.*s tries", v == list_of->child ? "deliveries" : "", (int)status.len, status.ptr,
                     (int)url.len, url.ptr, tries == NULL ? 0 : (int)tries->text.len, tries == NULL ? "" : tries->text.ptr);
        if (error.len > 0) (void)printf(": ");
        admin_print_text(error);
        (void)putchar('\n');
        print_links(json_get(v, "links"));
    }
    if (json_parse(&a->mem, fate->links, &list_of, NULL) == ERR_OK && list_of->count > 0) {
        (void)puts("links");
        print_links(list_of);
    }
    if (json_parse(&a->mem, fate->events, &list_of, NULL) != ERR_OK) return;
    for (const json *v = list_of->child; v != NULL; v = v->next) {
        slice type = json_text(v, "type"), at = json_text(v, "createdAt");
        (void)printf("%-14s%.*s  %.*s%s\n", v == list_of->child ? "events" : "", (int)at.len, at.ptr, (int)type.len,
                     type.ptr, json_is(json_get(v, "published"), JSON_TRUE) ? "" : " (not published yet)");
    }
}

static void print_message(admin *a, const message_row *m, const message_fate *fate)
{
    slice rest = m->raw_payload;

    print_line("id", m->id);
    print_line("connector", m->connector_name);
    print_line("type", m->message_type);
    print_line("control id", m->sent_control_id.ptr != NULL ? m->sent_control_id : m->control_id);
    if (m->sent_control_id.ptr != NULL) print_line("stored as", m->control_id);
    print_line("from", m->sending_app);
    print_line("facility", m->sending_facility);
    print_line("to", m->receiving_app);
    print_line("status", m->status);
    print_line("error", m->error_detail);
    (void)printf("%-14s%lld\n", "tries", (long long)m->attempt_count);
    if (m->replay_count > 0) (void)printf("%-14s%lld\n", "replays", (long long)m->replay_count);
    print_line("next try", m->next_attempt_at);
    print_line("received", m->received_at);
    print_line("processed", m->processed_at);
    print_line("pack", m->pack_digest);
    print_fate(a, fate);
    (void)putchar('\n');
    while (rest.len > 0) {               /* CR, LF and CRLF end a segment */
        size_t n = 0;
        while (n < rest.len && rest.ptr[n] != '\r' && rest.ptr[n] != '\n') n++;
        admin_print_text((slice){ rest.ptr, n });
        (void)putchar('\n');
        rest = slice_from(rest, n < rest.len && rest.ptr[n] == '\r' && n + 1 < rest.len && rest.ptr[n + 1] == '\n' ? n + 2
                                                                                                                     : n + 1);
    }
}

static err show_parsed(admin *a, const message_row *m, err_info *why)
{
    buf out = buf_in(&a->mem);
    json *v;
    err e;

    if (m->parsed_data.ptr == NULL)
        return err_set(why, ERR_NOT_FOUND, "message %.*s was not parsed yet (it is %.*s)", (int)m->id.len, m->id.ptr,
                       (int)m->status.len, m->status.ptr);
    e = json_parse(&a->mem, m->parsed_data, &v, why);
    if (e == ERR_OK) e = hl7_json_rebuild(&out, v, why);
    if (e == ERR_OK) (void)fwrite(out.ptr, 1, out.len, stdout);
    return e;
}

static err show(admin *a, slice id, const char *format)
{
    bool raw = strcmp(format, "raw") == 0, parsed = strcmp(format, "parsed") == 0;
    slice bytes = SLICE_NONE;
    message_fate fate;
    message_row m;
    buf line = buf_in(&a->mem);
    err e = db_begin(a->db, a->tenant, &a->why);

    if (e == ERR_OK && raw) e = messages_bytes(a->db, &a->mem, id, &bytes, &a->why);
    else if (e == ERR_OK) e = messages_get(a->db, &a->mem, id, &m, &a->why);
    if (e == ERR_OK && !raw && !parsed) e = messages_fate(a->db, &a->mem, id, &fate, &a->why);
    if (e == ERR_OK) e = db_commit(a->db, &a->why);
    if (e != ERR_OK) return e;
    if (raw) {
        (void)fwrite(bytes.ptr, 1, bytes.len, stdout);
    } else if (parsed) {
        e = show_parsed(a, &m, &a->why);
    } else if (a->json) {
        message_json_begin(&line, &m);
        row_json(&line, "deliveries", fate.deliveries);
        row_json(&line, "links", fate.links);
        row_json(&line, "events", fate.events);
        row_end(&line);
        admin_print(&line);
    } else {
        print_message(a, &m, &fate);
    }
    return e;
}

static int run_show(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[1], *format;
    int word_count, code;
    admin a;

    if (!cli_parse_options(&verbs[1], argc, argv, options, countof(options), words, 1, &word_count)) return EXIT_USAGE;
    if (word_count == 0) return cli_usage(&verbs[1], "say which message: its id, see `interop message list`");
    format = o.format == NULL ? "text" : o.format;
    if (strcmp(format, "raw") == 0 || strcmp(format, "parsed") == 0) o.format = NULL;
    if (admin_open(&a, &verbs[1], &o, true, &code)) code = admin_end(&a, show(&a, slice_of(words[0]), format));
    admin_close(&a);
    return code;
}

/* ---- replay, release, skip --------------------------------------------------------- */

#define CHANGES_MAX 1000

typedef struct change {
    const cli_command *verb;
    err (*make)(admin *a, const struct change *c, slice message_id);
    const char *said, *json;             /* of the message then: in text, as a member */
    message_by  by;
    bool        force;
} change;

/* Each alone: one that may not be changed holds up none. */
static int change_all(const change *c, const admin_options *o, const char *const *words, int word_count)
{
    int code;
    admin a;

    if (word_count == 0) return cli_usage(c->verb, "say which message: its id, see `interop message list`");
    if (admin_open(&a, c->verb, o, true, &code)) {
        code = EXIT_WELL;
        for (int i = 0; i < word_count; i++) {
            err e = db_begin(a.db, a.tenant, &a.why);
            if (e == ERR_OK) e = c->make(&a, c, slice_of(words[i]));
            if (e == ERR_OK) e = db_commit(a.db, &a.why);
            if (e == ERR_OK)
                (void)printf(a.json ? "{\"id\":\"%s\",%s}\n" : "%s %s\n", words[i], a.json ? c->json : c->said);
            int one = admin_end(&a, e);
            if (one > code) code = one;
        }
    }
    admin_close(&a);
    return code;
}

static err replay(admin *a, const change *c, slice message_id)
{
    return messages_replay(a->db, a->tenant, message_id, c->by, c->force, &a->why);
}

static err release(admin *a, const change *c, slice message_id)
{
    (void)c;
    return messages_release(a->db, a->tenant, message_id, &a->why);
}

static err skip(admin *a, const change *c, slice message_id)
{
    (void)c;
    return messages_skip(a->db, a->tenant, message_id, &a->why);
}

static int run_replay(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const char *by = "now", *words[CHANGES_MAX];
    change c = { .verb = &verbs[2], .make = replay, .said = "pending", .json = "\"processingStatus\":\"pending\"" };
    const cli_option options[] = { ADMIN_OPTIONS(o), { "--by", &by, NULL, NULL, 0 }, { "--force", NULL, &c.force, NULL, 0 } };
    int word_count;

    if (!cli_parse_options(&verbs[2], argc, argv, options, countof(options), words, CHANGES_MAX, &word_count))
        return EXIT_USAGE;
    if (strcmp(by, "now") != 0 && strcmp(by, "then") != 0) return cli_usage(&verbs[2], "--by is now or then");
    if (strcmp(by, "then") == 0) c.by = MESSAGE_AS_THEN;
    return change_all(&c, &o, words, word_count);
}

static int run_plain(const change *c, int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[CHANGES_MAX];
    int word_count;

    if (!cli_parse_options(c->verb, argc, argv, options, countof(options), words, CHANGES_MAX, &word_count)) return EXIT_USAGE;
    return change_all(c, &o, words, word_count);
}

static int run_release(int argc, char **argv)
{
    return run_plain(&(change){ .verb = &verbs[3], .make = release, .said = "released", .json = "\"released\":true" }, argc, argv);
}

static int run_skip(int argc, char **argv)
{
    return run_plain(&(change){ .verb = &verbs[4], .make = skip, .said = "dead_lettered",
                                .json = "\"processingStatus\":\"dead_lettered\"" }, argc, argv);
}

static int run(int argc, char **argv) { return cli_verbs(&cli_message, verbs, countof(verbs), argc, argv); }

const cli_command cli_message = {
    "message", "list|show|replay|release|skip …", "looks at messages, replays them, and moves those that hold others up", run, NULL
};

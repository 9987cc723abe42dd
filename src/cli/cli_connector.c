/* cli/cli_connector.c -- interop connector add|list|show|set|activate|pause|deactivate|settings. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/admin.h"
#include "crypt/tls.h"
#include "engine/settings.h"
#include "engine/words.h"
#include "store/connectors.h"

static int run_add(int argc, char **argv);
static int run_list(int argc, char **argv);
static int run_show(int argc, char **argv);
static int run_set(int argc, char **argv);
static int run_activate(int argc, char **argv);
static int run_pause(int argc, char **argv);
static int run_deactivate(int argc, char **argv);
static int run_settings(int argc, char **argv);

#define CHANGE_HELP \
    "  --port PORT       listens here\n" \
    "  --host ADDRESS    on this address (127.0.0.1; 0.0.0.0 for all)\n" \
    "  --pack FOLDER     runs this pack\n" \
    "  --type TYPE       takes only this type, such as ADT^A01, ADT^* or ADT; may be repeated\n" \
    "  --timezone ZONE   IANA name, for times without an offset\n" \
    "  --reused-ids R    refuse (default) or accept a control id that comes with other content\n" \
    "  --tls-cert FILE --tls-key FILE\n" \
    "                    listens with TLS\n" \
    "  --tls-ca FILE     demands client certificates signed by these\n" \
    "  --set KEY=VALUE   any of `interop connector settings`; may be repeated\n"

static const cli_command verbs[] = {
    { "connector add", "--tenant TENANT --name NAME --protocol mllp --direction inbound --port PORT --pack FOLDER …",
      "configures a connector", run_add,
      ADMIN_HELP
      "  --name NAME       its name, one of its kind in the tenant\n"
      "  --protocol P      mllp\n"
      "  --direction D     inbound\n"
      CHANGE_HELP
      "  --facility ID     of this facility\n"
      "  --activate        and starts it\n" },
    { "connector list", "[--tenant TENANT]", "the connectors, of all tenants when none is named", run_list, ADMIN_HELP },
    { "connector show", "NAME --tenant TENANT", "one connector, as JSON", run_show, ADMIN_HELP },
    { "connector set", "NAME --tenant TENANT [--set KEY=VALUE]… [--port PORT] …",
      "changes a connector; engines take it over at once", run_set,
      ADMIN_HELP
      "  --name NAME       renames it\n"
      CHANGE_HELP
      "  --version N       only if it still is this version\n" },
    { "connector activate", "NAME --tenant TENANT", "starts it", run_activate, ADMIN_HELP },
    { "connector pause", "NAME --tenant TENANT", "stops listening; what was taken is worked off", run_pause, ADMIN_HELP },
    { "connector deactivate", "NAME --tenant TENANT", "stops listening and working", run_deactivate, ADMIN_HELP },
    { "connector settings", "", "the settings that there are, with defaults and meanings", run_settings, NULL },
};

#define MANY 64

/* What may be said of a connector. */
typedef struct given {
    admin_options o;
    const char *name, *protocol, *direction, *host, *port, *pack, *facility, *timezone, *reused_ids, *version;
    const char *tls_certificate, *tls_key, *tls_ca;
    const char *types[MANY], *settings[MANY];
    bool        activate;
} given;

#define CHANGE_OPTIONS(g) \
    { "--host", &(g).host, NULL, NULL, 0 }, { "--port", &(g).port, NULL, NULL, 0 }, \
    { "--pack", &(g).pack, NULL, NULL, 0 }, { "--timezone", &(g).timezone, NULL, NULL, 0 }, \
    { "--reused-ids", &(g).reused_ids, NULL, NULL, 0 }, { "--tls-cert", &(g).tls_certificate, NULL, NULL, 0 }, \
    { "--tls-key", &(g).tls_key, NULL, NULL, 0 }, { "--tls-ca", &(g).tls_ca, NULL, NULL, 0 }, \
    { "--type", NULL, NULL, (g).types, MANY }, { "--set", NULL, NULL, (g).settings, MANY }

/* ---- what makes sense ---------------------------------------------------------------- */

static err check_name(const char *what, slice name, err_info *why)
{
    bool good = name.len > 0 && name.len <= 100 && isalnum((unsigned char)name.ptr[0]);

    for (size_t i = 0; good && i < name.len; i++)
        good = isalnum((unsigned char)name.ptr[i]) || strchr("._-", name.ptr[i]) != NULL;
    if (good) return ERR_OK;
    return err_set(why, ERR_USAGE, "%s is a word of letters, digits, and . _ - that begins with a letter or digit", what);
}

static err check_kind(const given *g, err_info *why)
{
    static const char *const protocols[] = { "mllp", "fhir-rest", "sftp", "api-polling" };
    static const char *const directions[] = { "inbound", "outbound", "bidirectional" };
    slice protocol = slice_of(g->protocol), direction = slice_of(g->direction);
    bool known = false;

    if (protocol.len == 0) return err_set(why, ERR_USAGE, "say how it speaks: --protocol mllp");
    if (direction.len == 0) return err_set(why, ERR_USAGE, "say which way: --direction inbound");
    for (size_t i = 0; i < countof(protocols); i++) known = known || slice_is(protocol, protocols[i]);
    if (!known)
        return err_set(why, ERR_USAGE, "there is no protocol \"%s\"%s", words_show(protocol).text,
                       words_suggest(protocol, protocols, sizeof *protocols, countof(protocols)).text);
    known = false;
    for (size_t i = 0; i < countof(directions); i++) known = known || slice_is(direction, directions[i]);
    if (!known)
        return err_set(why, ERR_USAGE, "there is no direction \"%s\"%s", words_show(direction).text,
                       words_suggest(direction, directions, sizeof *directions, countof(directions)).text);
    if (slice_is(protocol, "api-polling") && !slice_is(direction, "inbound"))
        return err_set(why, ERR_USAGE, "api-polling asks a peer for messages, so it is inbound only");
    if (!slice_is(protocol, "mllp"))
        return err_set(why, ERR_USAGE, "protocol %s is not in this release: it has mllp", g->protocol);
    if (!slice_is(direction, "inbound"))
        return err_set(why, ERR_USAGE, "direction %s is not in this release: mllp is inbound", g->direction);
    return ERR_OK;
}

static bool is_type(slice t)
{
    slice event, code = slice_cut(t, '^', &event);

    if (slice_is(t, "*")) return true;
    if (code.len != 3 || (event.ptr != NULL && !slice_is(event, "*") && event.len != 3)) return false;
    for (size_t i = 0; i < t.len; i++)
        if (!isupper((unsigned char)t.ptr[i]) && !isdigit((unsigned char)t.ptr[i]) && t.ptr[i] != '^' && t.ptr[i] != '*')
            return false;
    return true;
}

static err read_types(admin *a, const given *g, slice *out)
{
    json *types = json_new(&a->mem, JSON_ARRAY);
    buf text = buf_in(&a->mem);

    for (int i = 0; i < MANY && g->types[i] != NULL; i++) {
        slice t = slice_of(g->types[i]);
        if (!is_type(t))
            return err_set(&a->why, ERR_USAGE, "--type \"%s\" is no message type: write ADT^A01, ADT^* or ADT",
                           words_show(t).text);
        json_push(types, json_string(&a->mem, t));
    }
    json_write(&text, types);
    *out = buf_slice(&text);
    return ERR_OK;
}

static err read_port(admin *a, const char *text, int64_t *out)
{
    if (text == NULL) return err_set(&a->why, ERR_USAGE, "say where it listens: --port PORT");
    if (slice_int(slice_of(text), out) && *out >= 1 && *out <= 65535) return ERR_OK;
    return err_set(&a->why, ERR_USAGE, "--port is a number from 1 to 65535");
}

/* ---- settings ------------------------------------------------------------------------- */

static err set_one(admin *a, json *settings, const char *key, const char *value)
{
    if (value == NULL) return ERR_OK;
    return settings_set(&a->mem, settings, arena_printf(&a->mem, "%s=%s", key, value), &a->why);
}

/* The engine may run in another folder, so a file is kept by its whole path. */
static err set_file(admin *a, json *settings, const char *key, const char *option, const char *value)
{
    char *path;
    err e;

    if (value == NULL || value[0] == '\0') return set_one(a, settings, key, value);
    path = realpath(value, NULL);
    if (path == NULL) return err_set(&a->why, ERR_USAGE, "%s: there is no file %s", option, words_show(slice_of(value)).text);
    e = set_one(a, settings, key, path);
    free(path);
    return e;
}

/* Reads certificates as the engine would, so that a wrong one is told here. */
static err check_tls(const connector_settings *s, err_info *why)
{
    const tls_config files = { .certificate = s->tls_certificate, .key = s->tls_key, .ca = s->tls_ca,
                               .require_peer = s->tls_ca != NULL, .peer_names = s->tls_names };
    tls_context *context = NULL;
    err e;

    if (s->tls_certificate == NULL) return ERR_OK;
    e = tls_server_context(&files, &context, why);
    tls_context_drop(context);
    return e;
}

static err check_host(admin *a, slice host)
{
    json *unused = json_new(&a->mem, JSON_OBJECT);

    if (host.len == 0) return ERR_OK;
    if (settings_set(&a->mem, unused, arena_printf(&a->mem, "address=%.*s", (int)host.len, host.ptr), NULL) == ERR_OK)
        return ERR_OK;
    return err_set(&a->why, ERR_USAGE, "--host is an IP address or host name");
}

/* Changes `c->settings` by what was given, and checks the whole. */
static err change_settings(admin *a, const given *g, connector_row *c)
{
    connector_settings parsed;
    json *settings;
    buf text = buf_in(&a->mem);
    err e = json_parse(&a->mem, c->settings, &settings, &a->why);

    if (e == ERR_OK) e = set_one(a, settings, "timezone", g->timezone);
    if (e == ERR_OK) e = set_one(a, settings, "reused_ids", g->reused_ids);
    if (e == ERR_OK) e = set_file(a, settings, "tls_certificate", "--tls-cert", g->tls_certificate);
    if (e == ERR_OK) e = set_file(a, settings, "tls_key", "--tls-key", g->tls_key);
    if (e == ERR_OK) e = set_file(a, settings, "tls_ca", "--tls-ca", g->tls_ca);
    for (int i = 0; e == ERR_OK && i < MANY && g->settings[i] != NULL; i++)
        e = settings_set(&a->mem, settings, slice_of(g->settings[i]), &a->why);
    if (e != ERR_OK) return e;
    json_write(&text, settings);
    c->settings = buf_slice(&text);
    e = settings_parse(&a->mem, c->settings, &parsed, &a->why);
    if (e == ERR_OK) e = check_tls(&parsed, &a->why);
    c->tls_enabled = parsed.tls_certificate != NULL;
    c->auth_mode = slice_of(parsed.tls_ca != NULL ? "client-cert" : "none");
    return e;
}

static err check_port(admin *a, const connector_row *c)
{
    connector_settings s;
    err e = settings_parse(&a->mem, c->settings, &s, &a->why);

    return e != ERR_OK ? e
        : connectors_port_free(a->db, &a->mem, c->host.len > 0 ? c->host : s.address.len > 0 ? s.address : slice_lit("127.0.0.1"), c->port, c->id, &a->why);
}

static void print_connector(admin *a, const connector_row *c)
{
    buf line = buf_in(&a->mem);

    connector_json(&line, c);
    admin_print(&line);
}

/* ---- add ------------------------------------------------------------------------------- */

static err check_pack(admin *a, const connector_row *c)
{
    if (c->pack_digest.ptr != NULL) return ERR_OK;
    return err_set(&a->why, ERR_CONFLICT, "connector \"%.*s\" has no pack that could map its messages: "
                   "`interop pack push FOLDER --tenant %.*s --connector %.*s`", (int)c->name.len, c->name.ptr,
                   (int)a->tenant.len, a->tenant.ptr, (int)c->name.len, c->name.ptr);
}

static err activate(admin *a, connector_row *c)
{
    err e = check_pack(a, c);

    if (e == ERR_OK) e = check_port(a, c);
    return e == ERR_OK ? connectors_enter(a->db, &a->mem, c, "active", &a->why) : e;
}

static err store_new(admin *a, const given *g, connector_row *c, const pack *p)
{
    bool added;
    err e = db_begin(a->db, a->tenant, &a->why);

    if (e == ERR_OK && p != NULL) e = admin_push(a, p, &added);
    if (e == ERR_OK) e = connectors_add(a->db, &a->mem, c, &a->why);
    if (e == ERR_OK && g->activate) e = activate(a, c);
    return e == ERR_OK ? db_commit(a->db, &a->why) : e;
}

static err add(admin *a, const given *g)
{
    connector_row c = {
        .tenant_id = a->tenant, .name = slice_of(g->name), .protocol = slice_of(g->protocol),
        .direction = slice_of(g->direction), .host = slice_of(g->host), .facility_id = slice_of(g->facility),
        .settings = slice_lit("{}"),
    };
    pack *p = NULL;
    err e = g->name == NULL ? err_set(&a->why, ERR_USAGE, "give it a name: --name NAME") : ERR_OK;

    if (e == ERR_OK) e = check_name("a tenant", a->tenant, &a->why);
    if (e == ERR_OK) e = check_name("a name", c.name, &a->why);
    if (e == ERR_OK) e = check_kind(g, &a->why);
    if (e == ERR_OK) e = check_host(a, c.host);
    if (e == ERR_OK) e = read_port(a, g->port, &c.port);
    if (e == ERR_OK) e = read_types(a, g, &c.message_types);
    if (e == ERR_OK) e = change_settings(a, g, &c);
    if (e == ERR_OK && g->pack != NULL) e = admin_pack(a, g->pack, &p);
    if (e == ERR_OK && p != NULL) {
        c.pack_digest = slice_of(pack_digest(p));
        e = admin_try(a, p, &c);
    }
    if (e == ERR_OK) e = store_new(a, g, &c, p);
    pack_drop(p);
    if (e == ERR_OK) print_connector(a, &c);
    return e;
}

static int run_add(int argc, char **argv)
{
    given g = { .activate = false };
    const cli_option options[] = {
        ADMIN_OPTIONS(g.o), CHANGE_OPTIONS(g),
        { "--name", &g.name, NULL, NULL, 0 }, { "--protocol", &g.protocol, NULL, NULL, 0 },
        { "--direction", &g.direction, NULL, NULL, 0 }, { "--facility", &g.facility, NULL, NULL, 0 },
        { "--activate", NULL, &g.activate, NULL, 0 },
    };
    const char *words[1];
    int word_count, code;
    admin a;

    if (!cli_parse_options(&verbs[0], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (admin_open(&a, &verbs[0], &g.o, true, &code)) code = admin_end(&a, add(&a, &g));
    admin_close(&a);
    return code;
}

/* ---- list and show ----------------------------------------------------------------------- */

static err list_tenant(admin *a, slice tenant, table *t)
{
    connector_row *rows = NULL;
    size_t count = 0;
    err e = db_begin(a->db, tenant, &a->why);

    if (e == ERR_OK) e = connectors_list(a->db, &a->mem, &rows, &count, &a->why);
    if (e == ERR_OK) e = db_commit(a->db, &a->why);
    for (size_t i = 0; e == ERR_OK && i < count; i++) {
        const connector_row *c = &rows[i];
        if (a->json) { print_connector(a, c); continue; }
        table_add(t, c->tenant_id);
        table_add(t, c->name);
        table_add(t, c->protocol);
        table_add(t, c->direction);
        table_add(t, c->port < 0 ? SLICE_NONE
                  : arena_printf(&a->mem, "%.*s:%lld", (int)c->host.len, c->host.len > 0 ? c->host.ptr : "", (long long)c->port));
        table_add(t, slice_of(c->tls_enabled ? "tls" : "clear"));
        table_add(t, c->status);
        table_add_int(t, c->version);
        table_add(t, (slice){ c->pack_digest.ptr, c->pack_digest.len < 12 ? c->pack_digest.len : 12 });
        table_add(t, c->id);
    }
    return e;
}

static err list_all(admin *a)
{
    static const char *const heads[] = {
        "TENANT", "NAME", "PROTOCOL", "DIRECTION", "LISTENS", "TLS", "STATUS", "VERSION", "PACK", "ID"
    };
    table *t = table_new(&a->mem, heads, countof(heads));
    slice *tenants = &a->tenant;
    size_t count = 1;
    err e = a->tenant.len > 0 ? ERR_OK : connectors_tenants(a->db, &a->mem, &tenants, &count, &a->why);

    for (size_t i = 0; e == ERR_OK && i < count; i++) e = list_tenant(a, tenants[i], t);
    if (e == ERR_OK && !a->json) table_print(t);
    return e;
}

static int run_list(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[1];
    int word_count, code;
    admin a;

    if (!cli_parse_options(&verbs[1], argc, argv, options, countof(options), words, 0, &word_count)) return EXIT_USAGE;
    if (admin_open(&a, &verbs[1], &o, false, &code)) code = admin_end(&a, list_all(&a));
    admin_close(&a);
    return code;
}

/* Opens, finds the connector that words[0] names, does, commits, prints. */
static int with_connector(const cli_command *cmd, const admin_options *o, const char *name,
                          err (*act)(admin *a, connector_row *c, const given *g), const given *g)
{
    connector_row c;
    int code;
    admin a;

    if (admin_open(&a, cmd, o, true, &code)) {
        err e = db_begin(a.db, a.tenant, &a.why);
        if (e == ERR_OK) e = connectors_get(a.db, &a.mem, a.tenant, slice_of(name), &c, &a.why);
        if (e == ERR_OK && act != NULL) e = act(&a, &c, g);
        if (e == ERR_OK) e = db_commit(a.db, &a.why);
        if (e == ERR_OK) print_connector(&a, &c);
        code = admin_end(&a, e);
    }
    admin_close(&a);
    return code;
}

/* A verb that takes a name and nothing else. */
static int run_plain(const cli_command *cmd, int argc, char **argv, err (*act)(admin *a, connector_row *c, const given *g))
{
    admin_options o = { NULL, NULL, NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o) };
    const char *words[1];
    int word_count;

    if (!cli_parse_options(cmd, argc, argv, options, countof(options), words, 1, &word_count)) return EXIT_USAGE;
    if (word_count == 0) return cli_usage(cmd, "say which connector: its name or id, see `interop connector list`");
    return with_connector(cmd, &o, words[0], act, NULL);
}

static int run_show(int argc, char **argv) { return run_plain(&verbs[2], argc, argv, NULL); }

/* ---- set -------------------------------------------------------------------------------- */

static err change_pack(admin *a, const char *folder, connector_row *c)
{
    pack *p = NULL;
    bool added;
    err e = admin_pack(a, folder, &p);

    if (e == ERR_OK) e = admin_push(a, p, &added);
    if (e == ERR_OK) c->pack_digest = arena_dup(&a->mem, slice_of(pack_digest(p)));
    if (e == ERR_OK) e = admin_try(a, p, c);
    pack_drop(p);
    return e;
}

static err change(admin *a, connector_row *c, const given *g)
{
    int64_t version = c->version;
    err e = ERR_OK;

    if (g->version != NULL && !slice_int(slice_of(g->version), &version))
        return err_set(&a->why, ERR_USAGE, "--version is a number");
    c->version = version;
    if (g->name != NULL) {
        c->name = slice_of(g->name);
        e = check_name("a name", c->name, &a->why);
    }
    if (g->host != NULL) c->host = g->host[0] == '\0' ? SLICE_NONE : slice_of(g->host);
    if (e == ERR_OK) e = check_host(a, c->host);
    if (e == ERR_OK && g->port != NULL) e = read_port(a, g->port, &c->port);
    if (e == ERR_OK && g->types[0] != NULL) e = read_types(a, g, &c->message_types);
    if (e == ERR_OK) e = change_settings(a, g, c);
    if (e == ERR_OK && (slice_is(c->status, "active") || slice_is(c->status, "paused"))) e = check_port(a, c);
    if (e == ERR_OK && g->pack != NULL) e = change_pack(a, g->pack, c);
    else if (e == ERR_OK && c->pack_digest.ptr != NULL) e = admin_try(a, NULL, c);
    return e == ERR_OK ? connectors_set(a->db, &a->mem, c, &a->why) : e;
}

static int run_set(int argc, char **argv)
{
    given g = { .activate = false };
    const cli_option options[] = {
        ADMIN_OPTIONS(g.o), CHANGE_OPTIONS(g),
        { "--name", &g.name, NULL, NULL, 0 }, { "--version", &g.version, NULL, NULL, 0 },
    };
    const char *words[1];
    int word_count;

    if (!cli_parse_options(&verbs[3], argc, argv, options, countof(options), words, 1, &word_count)) return EXIT_USAGE;
    if (word_count == 0) return cli_usage(&verbs[3], "say which connector: its name or id, see `interop connector list`");
    return with_connector(&verbs[3], &g.o, words[0], change, &g);
}

/* ---- activate, pause, deactivate ----------------------------------------------------------- */

static err act_activate(admin *a, connector_row *c, const given *g)
{
    (void)g;
    return activate(a, c);
}

static err act_pause(admin *a, connector_row *c, const given *g)
{
    (void)g;
    return connectors_enter(a->db, &a->mem, c, "paused", &a->why);
}

static err act_deactivate(admin *a, connector_row *c, const given *g)
{
    (void)g;
    return connectors_enter(a->db, &a->mem, c, "inactive", &a->why);
}

static int run_activate(int argc, char **argv) { return run_plain(&verbs[4], argc, argv, act_activate); }
static int run_pause(int argc, char **argv) { return run_plain(&verbs[5], argc, argv, act_pause); }
static int run_deactivate(int argc, char **argv) { return run_plain(&verbs[6], argc, argv, act_deactivate); }

static int run_settings(int argc, char **argv)
{
    const char *words[1];
    int word_count;
    buf text = buf_in(NULL);

    if (!cli_parse_options(&verbs[7], argc, argv, NULL, 0, words, 0, &word_count)) return EXIT_USAGE;
    settings_describe(&text);
    (void)fwrite(text.ptr, 1, text.len, stdout);
    buf_free(&text);
    return EXIT_WELL;
}

static int run(int argc, char **argv) { return cli_verbs(&cli_connector, verbs, countof(verbs), argc, argv); }

const cli_command cli_connector = {
    "connector", "add|list|show|set|activate|pause|deactivate|settings …", "configures what takes messages in", run, NULL
};

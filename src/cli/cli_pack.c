/* cli/cli_pack.c -- interop pack push|list: packs into the database. */
#include <stdio.h>

#include "base/ulid.h"
#include "cli/admin.h"
#include "crypt/digest.h"
#include "engine/pack_folder.h"
#include "engine/settings.h"
#include "script/vm.h"
#include "store/packs.h"

static int run_push(int argc, char **argv);
static int run_list(int argc, char **argv);

static const cli_command verbs[] = {
    { "pack push", "FOLDER --tenant TENANT [--connector NAME]…", "stores a pack by its content, and lets connectors run it",
      run_push,
      ADMIN_HELP
      "  --connector NAME  runs it from now on; may be repeated. Messages in flight end on the one before\n" },
    { "pack list", "--tenant TENANT", "the packs that are stored, newest first", run_list, ADMIN_HELP },
};

#define CONNECTORS_MAX 64

err admin_pack(admin *a, const char *folder, pack **out)
{
    char hex[SHA256_HEX + 1];
    const char *lua_dir;
    slice archive;
    err e = pack_folder_lua_dir(&a->mem, &lua_dir, &a->why);

    if (e == ERR_OK) e = pack_folder_read(&a->mem, folder, lua_dir, &archive, &a->why);
    if (e != ERR_OK) return e;
    sha256 sum = sha256_of(archive);
    return pack_open(archive, sha256_hex(&sum, hex), out, &a->why);
}

err admin_push(admin *a, const pack *p, bool *added)
{
    return packs_push(a->db, a->tenant, slice_of(pack_digest(p)), pack_name(p), pack_version(p), pack_archive(p), added,
                      &a->why);
}

err admin_try(admin *a, pack *p, const connector_row *c)
{
    connector_settings s;
    vm *v = NULL;
    pack *stored = NULL;
    slice archive;
    err e = settings_parse(&a->mem, c->settings, &s, &a->why);

    if (e == ERR_OK && p == NULL) {
        e = packs_archive(a->db, &a->mem, c->pack_digest, &archive, &a->why);
        if (e == ERR_OK) e = pack_open(archive, arena_cstr(&a->mem, c->pack_digest), &stored, &a->why);
    }
    if (e == ERR_OK) {
        const vm_scope scope = { .tenant = a->tenant, .connector_id = slice_lit(ID_CONNECTOR), .connector_name = c->name,
                                 .timezone = s.timezone, .settings = s.script };
        e = vm_open(stored != NULL ? stored : p, &scope, &VM_DEFAULT_LIMITS, &v, &a->why);
    }
    vm_close(v);
    pack_drop(stored);
    return e;
}

/* ---- push ---------------------------------------------------------------------------- */

static err run_on(admin *a, pack *p, const char *connector)
{
    connector_row c;
    err e = connectors_get(a->db, &a->mem, a->tenant, slice_of(connector), &c, &a->why);

    if (e != ERR_OK || slice_is(c.pack_digest, pack_digest(p))) return e;
    c.pack_digest = slice_of(pack_digest(p));
    e = admin_try(a, p, &c);
    if (e != ERR_OK) return e;
    return connectors_set(a->db, &a->mem, &c, &a->why);
}

static err push(admin *a, const char *folder, const char *const *connectors)
{
    pack *p = NULL;
    bool added = false;
    buf line = buf_in(&a->mem);
    err e = admin_pack(a, folder, &p);

    if (e == ERR_OK) e = db_begin(a->db, a->tenant, &a->why);
    if (e == ERR_OK) e = admin_push(a, p, &added);
    for (int i = 0; e == ERR_OK && connectors[i] != NULL; i++) e = run_on(a, p, connectors[i]);
    if (e == ERR_OK) e = db_commit(a->db, &a->why);
    if (e == ERR_OK && a->json) {
        row_begin(&line);
        row_text(&line, "digest", slice_of(pack_digest(p)));
        row_text(&line, "name", pack_name(p));
        row_text(&line, "version", pack_version(p));
        row_bool(&line, "added", added);
        row_end(&line);
        admin_print(&line);
    } else if (e == ERR_OK) {
        (void)printf("%.*s %.*s %s (%s)\n", (int)pack_name(p).len, pack_name(p).ptr, (int)pack_version(p).len,
                     pack_version(p).ptr, pack_digest(p), added ? "added" : "there already");
        for (int i = 0; connectors[i] != NULL; i++) (void)printf("connector %s runs it\n", connectors[i]);
    }
    pack_drop(p);
    return e;
}

static int run_push(int argc, char **argv)
{
    admin_options o = { NULL, NULL, NULL };
    const char *connectors[CONNECTORS_MAX] = { NULL };
    const cli_option options[] = { ADMIN_OPTIONS(o), { "--connector", NULL, NULL, connectors, CONNECTORS_MAX } };
    const char *words[1];
    int word_count, code;
    admin a;

    if (!cli_parse_options(&verbs[0], argc, argv, options, countof(options), words, 1, &word_count)) return EXIT_USAGE;
    if (word_count == 0) return cli_usage(&verbs[0], "say which pack: the folder that has its pack.lua");
    if (admin_open(&a, &verbs[0], &o, true, &code)) code = admin_end(&a, push(&a, words[0], connectors));
    admin_close(&a);
    return code;
}

/* ---- list ---------------------------------------------------------------------------- */

/* ["adt","lab"] as adt, lab */
static slice names_of(arena *mem, slice array)
{
    buf out = buf_in(mem);
    json *names;

    if (json_parse(mem, array, &names, NULL) != ERR_OK) return SLICE_NONE;
    for (const json *n = names->child; n != NULL; n = n->next) {
        if (n != names->child) buf_puts(&out, ", ");
        buf_put(&out, n->text);
    }
    return buf_slice(&out);
}

typedef struct listed { pack_row *rows; size_t count; } listed;

static void print_list(admin *a, const void *rows)
{
    const listed *l = rows;
    static const char *const heads[] = { "PUSHED", "NAME", "VERSION", "DIGEST", "BYTES", "CONNECTORS" };
    table *t = table_new(&a->mem, heads, countof(heads));

    for (size_t i = 0; i < l->count; i++) {
        const pack_row *p = &l->rows[i];
        if (a->json) {
            buf line = buf_in(&a->mem);
            pack_json(&line, p);
            admin_print(&line);
            continue;
        }
        table_add(t, (slice){ p->created_at.ptr, p->created_at.len < 19 ? p->created_at.len : 19 });
        table_add(t, p->name);
        table_add(t, p->version);
        table_add(t, (slice){ p->digest.ptr, p->digest.len < 12 ? p->digest.len : 12 });
        table_add_int(t, p->bytes);
        table_add(t, names_of(&a->mem, p->connectors));
    }
    if (a->json) return;
    if (l->count == 0) (void)puts("no packs");
    else table_print(t);
}

static err read_list(admin *a, void *rows)
{
    listed *l = rows;
    return packs_list(a->db, &a->mem, &l->rows, &l->count, &a->why);
}

static int run_list(int argc, char **argv)
{
    return admin_read(&verbs[1], argc, argv, true, read_list, print_list, &(listed){ NULL, 0 });
}

static int run(int argc, char **argv) { return cli_verbs(&cli_pack, verbs, countof(verbs), argc, argv); }

const cli_command cli_pack = {
    "pack", "push|list …", "puts packs of mapping scripts into the database", run, NULL
};

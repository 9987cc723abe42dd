/* store/migrate_role.c -- the engine's role: what it must not be, and what it may do. */
#include <libpq-fe.h>
#include <stdlib.h>

#include "base/buf.h"
#include "store/migrate.h"
#include "store/migrate_files.h"

err migrate_role_of(arena *mem, const char *url, migrate_role *out, err_info *why)
{
    PQconninfoOption *given = PQconninfoParse(url, NULL), *standard = PQconndefaults();

    *out = (migrate_role){ slice_lit(""), slice_lit("") };
    if (given != NULL && standard != NULL) {
        for (PQconninfoOption *o = standard; o->keyword != NULL; o++)
            if (strcmp(o->keyword, "user") == 0 && o->val != NULL) out->name = arena_dup(mem, slice_of(o->val));
        for (PQconninfoOption *o = given; o->keyword != NULL; o++) {
            if (o->val == NULL) continue;
            if (strcmp(o->keyword, "user") == 0) out->name = arena_dup(mem, slice_of(o->val));
            if (strcmp(o->keyword, "password") == 0) out->password = arena_dup(mem, slice_of(o->val));
        }
    }
    PQconninfoFree(given);
    PQconninfoFree(standard);
    if (out->name.len > 0) return ERR_OK;
    return err_set(why, ERR_CONFIG, "INTEROP_DATABASE_URL names no role: write postgresql://ROLE@HOST/DATABASE");
}

/* An identifier with its quotes. */
static void put_identifier(buf *out, slice name)
{
    buf_putc(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == '"') buf_putc(out, '"');
        buf_putc(out, name.ptr[i]);
    }
    buf_putc(out, '"');
}

/* ---- checks --------------------------------------------------------------------------- */

err migrate_role_system(db *d, const migrate_report *report, err_info *why)
{
    pg_result r;
    err e = db_exec(d, "SELECT rolsuper OR rolcreaterole, quote_ident(rolname),"
                    " EXISTS (SELECT FROM pg_roles WHERE rolname = 'interop_system'),"
                    " EXISTS (SELECT FROM pg_roles WHERE rolname = 'interop_system'"
                    "         AND pg_has_role(current_user, oid, 'MEMBER'))"
                    " FROM pg_roles WHERE rolname = current_user", NULL, 0, &r, why);

    if (e != ERR_OK || pg_cell_bool(&r, 0, 0) || pg_cell_bool(&r, 0, 3)) return e;
    if (!pg_cell_bool(&r, 0, 2)) migrate_say(report, "CREATE ROLE interop_system NOLOGIN;");
    migrate_say(report, "GRANT interop_system TO %.*s;", (int)pg_cell(&r, 0, 1).len, pg_cell(&r, 0, 1).ptr);
    return err_set(why, ERR_AUTH, "the owner may not create roles: let an administrator run the SQL above, "
                   "then run `interop migrate` again");
}

err migrate_role_check(db *d, const migrate_role *role, bool *exists, err_info *why)
{
    static const char *const faults[] = {
        "is a superuser", "bypasses row-level security (BYPASSRLS)",
        "may create roles (CREATEROLE) and so join any other", "owns the tables, or belongs to the role that does",
        "is a member of interop_system",
    };
    pg_result r;
    err e = db_exec(d, "SELECT rolsuper, rolbypassrls, rolcreaterole, pg_has_role(oid, current_user, 'MEMBER')"
                    "   OR EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace"
                    "              AND relname = 'hl7_messages' AND pg_has_role(pg_roles.oid, relowner, 'MEMBER')),"
                    " EXISTS (SELECT FROM pg_roles s WHERE s.rolname = 'interop_system'"
                    "         AND pg_has_role(pg_roles.oid, s.oid, 'MEMBER'))"
                    " FROM pg_roles WHERE rolname = $1", &role->name, 1, &r, why);

    if (e != ERR_OK) return e;
    *exists = pg_rows(&r) > 0;
    for (int i = 0; *exists && i < (int)countof(faults); i++) {
        if (!pg_cell_bool(&r, 0, i)) continue;
        return err_set(why, ERR_CONFIG, "role \"%.*s\" %s: the engine needs a role that row-level security binds; "
                       "name another one in INTEROP_DATABASE_URL", (int)role->name.len, role->name.ptr, faults[i]);
    }
    return ERR_OK;
}

/* ---- making and granting ----------------------------------------------------------------- */

static err create_role(db *d, const migrate_role *role, const migrate_report *report, err_info *why)
{
    buf sql = buf_in(NULL);
    err e;

    buf_puts(&sql, "CREATE ROLE ");
    put_identifier(&sql, role->name);
    buf_puts(&sql, " LOGIN");
    if (role->password.len > 0) {
        char *verifier = db_password_verifier(d, role->name, role->password);
        buf_printf(&sql, " PASSWORD '%s'", verifier);
        free(verifier);
    }
    e = db_script(d, buf_slice(&sql), why);
    if (e == ERR_OK) {
        migrate_say(report, "role %.*s: created", (int)role->name.len, role->name.ptr);
    } else if (strcmp(db_sqlstate(d), "42501") == 0) {
        buf_clear(&sql);
        put_identifier(&sql, role->name);
        migrate_say(report, "CREATE ROLE %.*s LOGIN%s;", (int)sql.len, sql.ptr,
                    role->password.len > 0 ? " PASSWORD '…'" : "");
        e = err_set(why, ERR_AUTH, "the owner may not create roles: let an administrator run the SQL above, "
                    "then run `interop migrate` again");
    }
    buf_free(&sql);
    return e;
}

/* grants.sql with the role's name in place of :engine. */
static err run_grants(db *d, const migrate_role *role, err_info *why)
{
    const migrate_file *f = migrate_files;
    slice text, word = slice_lit(":engine");
    buf sql = buf_in(NULL);
    err e;

    while (f->name != NULL && strcmp(f->name, MIGRATE_GRANTS) != 0) f++;
    if (f->name == NULL) die(MIGRATE_GRANTS " was not built in");
    text = migrate_text(f);
    while (text.len > 0) {
        if (slice_starts(text, word)) {
            put_identifier(&sql, role->name);
            text = slice_from(text, word.len);
        } else {
            buf_putc(&sql, text.ptr[0]);
            text = slice_from(text, 1);
        }
    }
    e = db_begin(d, SLICE_NONE, why);
    if (e == ERR_OK) e = db_script(d, buf_slice(&sql), why);
    if (e == ERR_OK) e = db_commit(d, why);
    if (e != ERR_OK) {
        db_rollback(d);
        if (why != NULL) (void)err_prefix(why, "%s", MIGRATE_GRANTS);
    }
    buf_free(&sql);
    return e;
}

err migrate_role_grant(db *d, const migrate_role *role, const migrate_report *report, err_info *why)
{
    bool exists;
    err e = migrate_role_check(d, role, &exists, why);

    if (e == ERR_OK && !exists) e = create_role(d, role, report, why);
    if (e == ERR_OK) e = run_grants(d, role, why);
    if (e == ERR_OK)
        migrate_say(report, "role %.*s: has what the engine needs", (int)role->name.len, role->name.ptr);
    return e;
}

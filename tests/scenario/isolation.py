#!/usr/bin/env python3
"""Promises P6 and P7 in the database, driven by its catalogs, so that a table, function or
right that is added without isolation fails here: tenant B finds nothing of tenant A, in no
table and through no function; without a tenant there is nothing at all; the engine's role can
neither change a stored payload nor loosen anything. And the commissioned data model is there."""
import os
import sys

from harness import ROOT, SHARED, Failed, Scenario

A, B = "north", "south"
MARK = "OF-ONE-TENANT-ALONE"             # in every text of a row that is no id

# Tables that hold no tenant's data. Anything else has a tenant_id.
PLATFORM = {"public.fhir_routing_rules", "public.interop_migrations", "public.interop_nodes", "public.interop_relay_slices"}

# One row of every tenant's table; {t} is the tenant, in every id too.
ROWS = {
    "script_packs": "tenant_id, digest, name, version, archive|'{t}', encode(sha256('{t}'), 'hex'), '{m}', '{m}', '{m}'",
    "interop_connectors": "id, tenant_id, name, protocol, direction, facility_id, settings, port, status, pack_digest|"
                          "'CONN_{t}', '{t}', '{m}', 'mllp', 'inbound', '{m}', '{{\"script\": {{\"x\": \"{m}\"}}}}', 2575, 'active',"
                          " encode(sha256('{t}'), 'hex')",
    "hl7_messages": "id, tenant_id, connector_id, direction, message_type, message_control_id, sending_app, raw_payload,"
                    " parsed_data, error_detail, content_hash, lane_keys, received_at|'MSG_{t}', '{t}', 'CONN_{t}', 'inbound',"
                    " '{m}', '{m}', '{m}', '{m}', '{{\"x\": \"{m}\"}}', '{m}', '', '{{{m}}}', now()",
    "hl7_deliveries": "id, tenant_id, message_id, connector_id, ordinal, seq, service_url, entry_count, error_detail|"
                      "'DLV_{t}', '{t}', 'MSG_{t}', 'CONN_{t}', 0, 1, '{m}', 1, '{m}'",
    "hl7_resource_links": "id, tenant_id, message_id, resource_type, resource_id, action, delivery_id, entry|"
                          "'LNK_{t}', '{t}', 'MSG_{t}', '{m}', '{m}', 'created', 'DLV_{t}', 0",
    "hl7_quarantine": "id, tenant_id, connector_id, reason, detail, digest, bytes, byte_count|"
                      "'QTN_{t}', '{t}', 'CONN_{t}', '{m}', '{m}', '', '{m}', 1",
    "interop_leases": "connector_id, tenant_id, node_id, epoch|'CONN_{t}', '{t}', '{m}', 1",
    "interop_handovers": "connector_id, writer, tenant_id, seq|'CONN_{t}', '{m}', '{t}', 1",
    "fhir_services": "id, tenant_id, name, url|'SVC_{t}', '{t}', '{m}', '{m}'",
    "bulk_export_jobs": "id, tenant_id, requested_by, resource_types|'JOB_{t}', '{t}', '{m}', '{{{m}}}'",
    "bulk_export_files": "id, tenant_id, job_id, resource_type, file_url|'FILE_{t}', '{t}', 'JOB_{t}', '{m}', '{m}'",
    "outbox_events": "id, tenant_id, subject, event_type, payload, aggregate_id|'EVT_{t}', '{t}', '{m}', '{m}',"
                     " '{{\"x\": \"{m}\"}}', 'MSG_{t}'",
}

# What the engine's role may execute, and a call that would find tenant A's if it could.
CALLS = {
    "interop_connector_ids": "select * from interop_connector_ids()",
    "interop_port_users": "select * from interop_port_users('127.0.0.1', 2575)",
    "interop_outbox_pending": "select * from interop_outbox_pending(100)",
    "interop_outbox_published": "select interop_outbox_published('{}')",
    # Tenant B's outcome for a message of tenant A changes nothing, and tells nothing.
    "interop_transformed": f"select interop_transformed(array['{B}'], array['MSG_{A}'], array[0], array[0], array['{{}}'],"
                           " array['processed'], array[null], array[null], array[0], array[null]::timestamptz[], array['EVT_x'],"
                           " array[0], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
    "interop_message_transformed": f"select interop_message_transformed(array['{B}'], array['MSG_{A}'], array[0], array[0],"
                                   " array['{}'], array['processed'], array[null], array[null], array[0], array[null]::timestamptz[],"
                                   " array['EVT_z'], array[0], '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
    "interop_delivered": f"select interop_delivered(array['{B}'], array['DLV_{A}'], array['delivered'], array[0],"
                         " array[null]::timestamptz[], array[200], array[null], array['{}'], array['{}'], array['{}'], array['{}'],"
                         f" array['{B}'], array['MSG_{A}'], array[0], array['EVT_y'], array['[]'])",
    "interop_node_join": "select interop_node_join('NODE_x', 'x', 'x', 'x', 1, 1, 'x', 60000)",
    "interop_node_beat": "select interop_node_beat('NODE_x', 60000, 60000)",
    "interop_lease_changes": "select * from interop_lease_changes('NODE_x')",
    "interop_lease_take": f"select * from interop_lease_take('NODE_x', array['CONN_{A}', 'CONN_{B}'])",
    "interop_lease_counts": "select * from interop_lease_counts()",
    "interop_lease_check": "select interop_lease_check('{}', '{}')",
    "interop_lease_release": f"select interop_lease_release('NODE_x', array['CONN_{A}'])",
    "interop_handover": f"select * from interop_handover(array['CONN_{A}', 'CONN_{B}'], 'NODE_x', 'x.0', 1)",
    "interop_relay_share": "select interop_relay_share('NODE_x')",
    "interop_node_leave": "select interop_node_leave('NODE_x')",
    "interop_token": "select interop_token('x.y')",
    "interop_subject": "select interop_subject('x', 'a.b')",
    "interop_event": "select interop_event('x', 'a.b', 'y', '{}')",
}

USER_SCHEMAS = "n.nspname not in ('pg_catalog', 'information_schema', 'pg_toast') and n.nspname !~ '^pg_t'"


def insert(table, tenant):
    columns, values = ROWS[table].split("|")
    return f"insert into {table} ({columns}) values ({values.format(t=tenant, m=MARK + '-' + tenant)})"


def tables(pg):
    """Every table, with whether it has a tenant_id and whether row-level security is on and forced."""
    return pg.rows(f"""
        select n.nspname || '.' || c.relname as name, c.relrowsecurity as enabled, c.relforcerowsecurity as forced,
               exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id') as tenant,
               (select count(*) from pg_policy p where p.polrelid = c.oid) as policies
          from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'v', 'm', 'f') and {USER_SCHEMAS} order by 1""")


def sweep_catalog(s, pg):
    found = tables(pg)
    for table in found:
        if table["name"] in PLATFORM:
            s.check(not table["tenant"], f"{table['name']} is the platform's")
            continue
        s.check(table["tenant"] and table["enabled"] and table["forced"] and table["policies"] > 0,
                f"{table['name']} has a tenant_id, and row-level security enabled and forced", str(table))
    s.equal({t["name"].split(".")[1] for t in found if t["tenant"]}, set(ROWS), "each of them has rows in what follows")
    unchecked = pg.rows("""
        select c.conrelid::regclass::text as name from pg_constraint c where c.contype = 'f'
           and exists (select from pg_attribute a where a.attrelid = c.conrelid and a.attname = 'tenant_id')
           and not exists (select from pg_attribute a where a.attrelid = c.conrelid and a.attnum = any (c.conkey)
                              and a.attname = 'tenant_id')""")
    s.equal(unchecked, [], "every foreign key of a tenant's table carries the tenant")


def sweep_rows(s, pg):
    url = pg.engine_url
    for name in ROWS:
        seen = pg.rows(f"select tenant_id, t::text as all from {name} t", url, tenant=B)
        s.check([row["tenant_id"] for row in seen] == [B] and all(f"{MARK}-{A}" not in row["all"] for row in seen),
                f"{name}: tenant {B} sees its own row and no other", str(seen))
        for verb in (f"update {name} set tenant_id = tenant_id where tenant_id = '{A}'", f"delete from {name} where tenant_id = '{A}'"):
            try:
                count = pg.psql(f"set app.current_tenant_id = '{B}'; with x as ({verb} returning 1) select count(*) from x;", url)
                s.equal(count, "0", f"{name}: {verb.split()[0]} finds nothing of tenant {A}")
            except Failed as refused:
                if "permission denied" not in str(refused):
                    raise
                s.check(True, f"{name}: {verb.split()[0]} is refused altogether")
        error = pg.refused(f"set app.current_tenant_id = '{B}';\n" + insert(name, A).replace("_" + A, "_new"), url)
        s.check("row-level security" in error or "permission denied" in error, f"{name}: no row for tenant {A} goes in", error)

    for name in ROWS:
        if name == "fhir_services":                                       # see shared_services
            continue
        error = pg.refused(f"select * from {name}", url)
        s.check("app.current_tenant_id" in error, f"{name}: without a tenant there is nothing at all", error)
        rows = pg.psql(f"begin; set local app.current_tenant_id = '{A}'; commit; select count(*) from {name}", url)
        s.equal(rows, "0", f"{name}: nor after a tenant's transaction in the same session")

    error = pg.refused("insert into hl7_resource_links (id, tenant_id, message_id, resource_type, resource_id, action)"
                       f" values ('X', '{B}', 'MSG_{A}', 'P', '1', 'created')")      # as the owner, who is a superuser here
    s.check("foreign key" in error, "no row of one tenant refers to another's", error)


def shared_services(s, pg):
    url = pg.engine_url
    pg.psql("insert into fhir_services (id, name, url) values ('SVC_shared', 'shared', 'http://shared')")
    s.equal([r["id"] for r in pg.rows("select id from fhir_services order by id", url, tenant=B)], ["SVC_shared", f"SVC_{B}"],
            "a tenant sees shared services and its own")
    s.equal(pg.rows("select tenant_id from fhir_services", url), [{"tenant_id": None}], "without a tenant, only what is shared")
    for sql in ("update fhir_services set url = 'http://evil' where tenant_id is null returning id",
                "delete from fhir_services where tenant_id is null returning id"):
        s.equal(pg.psql(f"set app.current_tenant_id = '{B}'; {sql}", url), "", "a tenant does not change a shared service")
    error = pg.refused(f"set app.current_tenant_id = '{B}'; insert into fhir_services (id, name, url) values ('X', 'x', 'x')", url)
    s.check("row-level security" in error, "nor adds one", error)


def sweep_functions(s, pg):
    found = pg.rows(f"""
        select p.proname as name, p.prosecdef as definer, r.rolname as owner, coalesce(p.proconfig::text, '') as config,
               has_function_privilege('engine', p.oid, 'execute') as engine, p.prorettype = 'trigger'::regtype as trigger,
               has_function_privilege('stranger', p.oid, 'execute') as anyone
          from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_roles r on r.oid = p.proowner
         where {USER_SCHEMAS}""")
    s.equal({f["name"] for f in found if f["engine"] and not f["trigger"]}, set(CALLS), "every function is called in what follows")
    for f in found:
        if f["definer"]:
            s.check(f["owner"] == "interop_system" and "search_path=pg_catalog" in f["config"] and not f["anyone"],
                    f"{f['name']}: interop_system's, with a search_path, and not for all", str(f))
    for name, call in CALLS.items():
        rows = pg.psql(f"set app.current_tenant_id = '{B}'; {call}", pg.engine_url)
        s.check(MARK not in rows, f"{name}: gives out ids only", rows)
    s.equal(pg.rows("select processing_status, (select status from hl7_deliveries where id = 'DLV_" + A + "') as delivery,"
                    " (select count(*) from outbox_events where id in ('EVT_x', 'EVT_y')) as events"
                    f" from hl7_messages where id = 'MSG_{A}'"),
            [{"processing_status": "pending", "delivery": "pending", "events": 0}], "an outcome of another tenant changes nothing")
    rights = pg.rows("select table_name, column_name from information_schema.column_privileges"
                     " where grantee = 'interop_system' and privilege_type = 'SELECT'")
    secret = {"raw_payload", "raw_bytes", "parsed_data", "payload", "auth_config", "archive", "bytes"}
    s.equal({r["column_name"] for r in rights} & secret, set(), "interop_system reads no payload and no secret")
    s.equal({r["table_name"] for r in rights}, {"interop_connectors", "outbox_events", "hl7_messages", "hl7_deliveries",
                                                "hl7_resource_links", "interop_nodes", "interop_leases", "interop_handovers",
                                                "interop_relay_slices"}, "and only these tables")
    role = pg.rows("select rolcanlogin, rolsuper, rolbypassrls from pg_roles where rolname = 'interop_system'")[0]
    s.check(not any(role.values()), "and cannot log in, nor bypass row-level security", str(role))


def engine_bound(s, pg):
    url = pg.engine_url
    role = pg.rows("select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname = 'engine'")[0]
    s.check(not any(role.values()), "the engine's role is an ordinary one", str(role))
    s.equal(pg.value("select count(*) n from pg_class where relowner = 'engine'::regrole"), 0, "which owns nothing")
    for what, sql in (
            ("change raw_payload", "update hl7_messages set raw_payload = 'x'"),
            ("change raw_bytes", "update hl7_messages set raw_bytes = 'x'"),
            ("change the content's hash", "update hl7_messages set content_hash = 'x'"),
            ("move a message to another connector", "update hl7_messages set connector_id = 'x'"),
            ("delete a message", "delete from hl7_messages"),
            ("change an event", "update outbox_events set payload = '{}'"),
            ("change a pack", "update script_packs set archive = 'x'"),
            ("loosen row-level security", "alter table hl7_messages disable row level security"),
            ("unforce it", "alter table hl7_messages no force row level security"),
            ("drop a policy", "drop policy hl7_messages_tenant on hl7_messages"),
            ("add a policy", "create policy p on hl7_messages using (true)"),
            ("turn a trigger off", "alter table hl7_messages disable trigger all"),
            ("turn all triggers off", "set session_replication_role = replica"),
            ("truncate", "truncate hl7_messages cascade"),
            ("become interop_system", "set role interop_system"),
            ("become the owner", "set role owner"),
            ("make tables", "create table x (y int)"),
            ("change migrations", "delete from interop_migrations"),
            ("skip row-level security", "set row_security = off; select * from hl7_messages")):
        error = pg.refused(f"set app.current_tenant_id = '{A}'; {sql}", url)
        s.check("denied" in error or "must be owner" in error or "row-level security" in error, f"it cannot {what}", error)
    for column in ("raw_payload", "raw_bytes", "content_hash"):
        error = pg.refused(f"update hl7_messages set {column} = 'x' where id = 'MSG_{A}'")
        s.check("immutable" in error, f"not even the owner changes {column}", error)


# ---- the data model -----------------------------------------------------------------------------

def catalog(pg, url):
    """What the model promises, as sets of text: columns, indexes, policies, constraints."""
    columns = pg.rows("""
        select c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod)
               || case when a.attnotnull then ' not null' else '' end
               || coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), '') as it
          from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
         where c.relkind = 'r' and c.relnamespace = 'public'::regnamespace""", url)
    indexes = pg.rows("select indexdef as it from pg_indexes where schemaname = 'public'", url)
    policies = pg.rows("select tablename || ' ' || policyname || ' ' || cmd || ' ' || coalesce(qual, '') as it from pg_policies", url)
    secured = pg.rows("select relname || ' row level security' as it from pg_class where relrowsecurity", url)
    constraints = pg.rows("select conrelid::regclass::text || ' ' || conname || ' ' || pg_get_constraintdef(oid) as it"
                          " from pg_constraint where connamespace = 'public'::regnamespace", url)
    return {row["it"] for rows in (columns, indexes, policies, secured, constraints) for row in rows}


def commissioned(text):
    """The SQL in the data model's text: its section 3."""
    sql = text[text.index("CREATE TABLE interop_connectors"):]
    return "\n".join(line for line in sql.splitlines() if line != "---")


def data_model(s, pg):
    # What 0002 replaces: the same rules, but with the tenant in foreign keys, and NULL taken as a value.
    key = "hl7_messages_connector_id_message_control_id_sending_app_key"
    replaced = {
        f"hl7_messages {key} UNIQUE (connector_id, message_control_id, sending_app)":
        f"hl7_messages {key} UNIQUE NULLS NOT DISTINCT (connector_id, message_control_id, sending_app)",
        f"CREATE UNIQUE INDEX {key} ON public.hl7_messages USING btree (connector_id, message_control_id, sending_app)":
        f"CREATE UNIQUE INDEX {key} ON public.hl7_messages USING btree (connector_id, message_control_id, sending_app)"
        " NULLS NOT DISTINCT",
    }
    for table, column, parent in (("hl7_messages", "connector_id", "interop_connectors"),
                                  ("hl7_resource_links", "message_id", "hl7_messages"),
                                  ("bulk_export_files", "job_id", "bulk_export_jobs")):
        replaced[f"{table} {table}_{column}_fkey FOREIGN KEY ({column}) REFERENCES {parent}(id)"] = \
            f"{table} {table}_{column}_fkey FOREIGN KEY (tenant_id, {column}) REFERENCES {parent}(tenant_id, id)"

    pg.psql("create database model")
    url = pg.owner_url.replace("/interop", "/model", 1)
    with open(os.path.join(ROOT, "sql", "0001_data_model.sql"), encoding="utf-8") as file:
        pg.psql(file.read(), url)
    model, now = catalog(pg, url), catalog(pg, None)
    s.check(len(model) > 90, f"the model has {len(model)} columns, indexes, policies and constraints")
    missing = {it for it in model if replaced.get(it, it) not in now}
    s.equal(missing, set(), "all of them are in the migrated database")
    s.equal(set(replaced) - model, set(), "but for what is replaced by something stricter")

    path = os.path.join(SHARED, "data-model.txt")
    if not os.path.exists(path):
        s.left_out("comparing 0001_data_model.sql with the data model's text, which is not here")
        return
    with open(path, encoding="utf-8") as file:
        text = commissioned(file.read())
    pg.psql("create database commissioned")
    url = pg.owner_url.replace("/interop", "/commissioned", 1)
    pg.psql(text, url)
    s.equal(catalog(pg, url), model, "0001_data_model.sql is the model as it was commissioned")


def main():
    with Scenario("isolation") as s:
        pg = s.postgres()
        s.interop("migrate")
        pg.psql("create role stranger login")
        for tenant in (A, B):
            for name in ROWS:
                pg.psql(insert(name, tenant))
        sweep_catalog(s, pg)
        sweep_rows(s, pg)
        shared_services(s, pg)
        sweep_functions(s, pg)
        engine_bound(s, pg)
        data_model(s, pg)


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""The command line against a private PostgreSQL, without an engine: migrations of an
empty and of a filled database, roles that are refused, and every verb of connector,
rule, pack, message and quarantine with what goes wrong."""
import hashlib
import json
import os
import pathlib
import re
import subprocess
import sys

from harness import BINARY, ROOT, Scenario, wait_for
from promises import Session

MODEL = os.path.join(ROOT, "sql", "0001_data_model.sql")
MIGRATIONS = sorted(pathlib.Path(ROOT, "sql").glob("0*.sql"))


def message(control_id, app="LAB", when="20260418093000", text="A"):
    return (f"MSH|^~\\&|{app}|HOSP|ENGINE|HERE|{when}|key|ADT^A01|{control_id}|P|2.5\r"
            f"PID|1||42^^^HOSP||Doe^{text}\r")


def quoted(text):
    return "E'" + text.replace("\\", "\\\\").replace("'", "''").replace("\r", "\\r").replace("\n", "\\n") + "'"


def fails(s, says, *args, code=2, env=None):
    """The command exits with `code` and says it in one line that holds `says`."""
    done = s.run(*args, code=code, env=env)
    lines = done.stderr.decode().strip().splitlines()
    s.check(len(lines) == 1 and says in lines[0], f"{' '.join(args[:2])} says: {says}", "\n".join(lines))


def lines(s, *args):
    """What a list prints as JSON, a line each."""
    return [json.loads(line) for line in s.interop(*args, "--format", "json").splitlines()]


def database(s, pg, name):
    """A new, empty database; the commands that follow use it."""
    pg.psql(f"create database {name}")
    for key in ("INTEROP_OWNER_DATABASE_URL", "INTEROP_DATABASE_URL"):
        s.env[key] = re.sub(r"/interop\b|/db_\w+", f"/{name}", s.env[key], count=1)
    return s.env["INTEROP_OWNER_DATABASE_URL"]


# ---- migrations ---------------------------------------------------------------------------

def migrate_empty(s, pg):
    fails(s, "run `interop migrate`", "rule", "list")                     # the role is missing
    said = s.interop("migrate")
    s.check("0001_data_model.sql: applied" in said and "role engine: created" in said, "migrate tells what it did", said)
    said = s.interop("migrate")
    s.check("up to date" in said and "applied" not in said, "migrate again does nothing", said)
    s.equal(pg.value("select count(*) n from interop_migrations"), len(MIGRATIONS), "each migration is recorded once")
    s.equal(pg.value("select checksum from interop_migrations where name like '0001%'"),
            hashlib.sha256(open(MODEL, "rb").read()).hexdigest(), "with its SHA-256")


def migrate_together(s, pg):
    database(s, pg, "db_together")
    both = [subprocess.Popen([BINARY, "migrate"], env=s.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            for _ in range(2)]
    said = [one.communicate(timeout=120)[0] for one in both]
    s.equal([one.returncode for one in both], [0, 0], "two at once both end well")
    s.equal("".join(said).count("0002_spine.sql: applied"), 1, "and one of them did the work")


def migrate_changed(s, pg):
    pg.psql("update interop_migrations set checksum = repeat('0', 64) where name like '0002%'")
    fails(s, "0002_spine.sql was applied with other content", "migrate")
    pg.psql("delete from interop_migrations where name like '0002%'")
    fails(s, "lacks migration 0002_spine.sql", "rule", "list")
    fails(s, "nothing of it was kept", "migrate")                         # it is there and fails half way
    s.equal(pg.value("select count(*) n from interop_migrations"), len(MIGRATIONS) - 1, "a failed migration leaves no record")
    pg.psql("drop schema public cascade; create schema public")
    s.interop("migrate")
    pg.psql("insert into interop_migrations values ('0999_future.sql', 'x')")
    fails(s, "newer release (it has 0999_future.sql)", "migrate")
    pg.psql("delete from interop_migrations where name = '0999_future.sql'")


def migrate_interrupted(s, pg):
    """A migration that is no transaction is broken off while it waits for an older one: it holds up no writer meanwhile,
    and what it has left is made again."""
    url = database(s, pg, "db_interrupted")
    s.interop("migrate")
    pg.psql("delete from interop_migrations where name like '0006%'; drop index idx_hl7_to_deliver", url)
    indexes = "select relname, indisvalid from pg_index join pg_class on oid = indexrelid where relname like 'idx_hl7_to_%' order by 1"
    older = Session(pg, f"\\c {url}\nbegin; lock table hl7_messages in row exclusive mode;")
    migrating = subprocess.Popen([BINARY, "migrate"], env=s.env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    backend = wait_for("it to wait", lambda: pg.value("select (select pid from pg_stat_activity where wait_event_type = 'Lock'"
                                                      " and application_name = 'interop migrate') as pid"))
    second = subprocess.Popen([BINARY, "migrate"], env=s.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pg.psql("set lock_timeout = '5s'; begin; lock table hl7_messages in row exclusive mode; commit", url)
    pg.psql(f"select pg_terminate_backend({backend})")
    said = migrating.communicate(timeout=120)[1]
    s.check(migrating.returncode == 2 and "0006_open_messages.sql, to be done again by `interop migrate`" in said, "it says what to do", said)
    s.equal([row["indisvalid"] for row in pg.rows(indexes, url)], [False, True], "one index is not whole")
    older.close()
    s.equal(second.wait(timeout=120), 0, "the one that came after it does it again")
    s.equal([row["indisvalid"] for row in pg.rows(indexes, url)], [True, True], "and it is")


def migrate_without_grants(s, pg):
    """Rights of the engine's role that an earlier release has granted do not do."""
    url = database(s, pg, "db_without_grants")
    s.interop("migrate")
    pg.psql("revoke execute on function interop_message_transformed from engine", url)
    fails(s, "the role lacks rights that this release needs", "rule", "list", env={"INTEROP_OWNER_DATABASE_URL": ""})
    s.interop("migrate")
    s.interop("rule", "list", env={"INTEROP_OWNER_DATABASE_URL": ""})


def migrate_roles(s, pg):
    for name, make, says in (
            ("su", "create role su login superuser", "is a superuser"),
            ("by", "create role by login bypassrls", "bypasses row-level security"),
            ("cr", "create role cr login createrole", "may create roles"),
            ("sy", "create role sy login in role interop_system", "member of interop_system"),
            ("owner", "select", "is a superuser")):
        pg.psql(make)
        url = s.env["INTEROP_DATABASE_URL"].replace("//engine@", f"//{name}@")
        fails(s, says, "migrate", env={"INTEROP_DATABASE_URL": url})
    # An owner who is no superuser: an engine that belongs to it is refused, and what it may not do it prints.
    pg.psql("create role plain login; create role friend login in role plain")
    url = database(s, pg, "db_plain").replace("//owner@", "//plain@")
    pg.psql("alter database db_plain owner to plain")
    plain = {"INTEROP_OWNER_DATABASE_URL": url}
    friend = s.env["INTEROP_DATABASE_URL"].replace("//engine@", "//friend@")
    fails(s, "owns the tables", "migrate", env={**plain, "INTEROP_DATABASE_URL": friend})
    done = s.run("migrate", code=2, env=plain)
    s.equal(done.stdout.decode().strip(), "GRANT interop_system TO plain;", "what an administrator must run is printed")
    pg.psql("grant interop_system to plain")
    fresh = s.env["INTEROP_DATABASE_URL"].replace("//engine@", "//fresh:s3cret@")
    done = s.run("migrate", code=2, env={**plain, "INTEROP_DATABASE_URL": fresh})
    s.check('CREATE ROLE "fresh" LOGIN' in done.stdout.decode(), "so is the role that is missing", done.stdout.decode())
    s.check(b"s3cret" not in done.stdout + done.stderr, "without its password")
    s.interop("migrate", env=plain)
    s.equal(pg.psql("select rolname from pg_proc p join pg_roles r on r.oid = proowner "
                    "where proname = 'interop_connector_ids'", url), "interop_system",
            "an owner without rights of its own migrates, and system functions are interop_system's")
    s.interop("migrate", env={"INTEROP_DATABASE_URL": fresh})
    s.equal(pg.value("select left(rolpassword, 13) p from pg_authid where rolname = 'fresh'"), "SCRAM-SHA-256",
            "a role that is made gets the password of the URL, as a verifier")


def fill(pg, url):
    """A database of the commissioned model alone, with what its rules let in."""
    with open(MODEL, encoding="utf-8") as file:
        pg.psql(file.read(), url)
    rows = []
    for tenant in ("north", "south"):
        for n, name in enumerate(("adt", "adt", "adt-2")):             # names were not unique
            rows.append(f"insert into interop_connectors (id, tenant_id, name, protocol, direction, port, created_at)"
                        f" values ('CONN_{tenant}{n}', '{tenant}', '{name}', 'mllp', 'inbound', 2575,"
                        f" '2026-01-0{n + 1}')")
        for n, (control_id, app) in enumerate((("1", None), ("1", None), ("1~2", None), ("1", "LAB"), ("2", "LAB"))):
            text = quoted(message(control_id, app or "", text=f"{tenant}{n}"))
            rows.append(f"insert into hl7_messages (id, tenant_id, connector_id, direction, message_type,"
                        f" message_control_id, sending_app, raw_payload, received_at) values ('MSG_{tenant}{n}',"
                        f" '{tenant}', 'CONN_{tenant}0', 'inbound', 'ADT^A01', '{control_id}',"
                        f" {quoted(app) if app else 'null'}, {text}, '2026-02-0{n + 1}')")
        rows.append(f"insert into hl7_resource_links values ('L_{tenant}', 'MSG_{tenant}0', 'Patient', '7', 'created')")
        rows.append(f"insert into bulk_export_jobs (id, tenant_id, requested_by, resource_types)"
                    f" values ('JOB_{tenant}', '{tenant}', 'me', '{{Patient}}')")
        rows.append(f"insert into bulk_export_files values ('F_{tenant}', 'JOB_{tenant}', 'Patient', 'file:///x', 3)")
        rows.append(f"insert into outbox_events (id, tenant_id, subject, event_type, payload)"
                    f" values ('E_{tenant}', '{tenant}', 's', 't', '{{}}')")
    rows.append("insert into fhir_routing_rules (id, resource_type, service_url) values ('RR_1', '*', 'http://h')")
    pg.psql(";\n".join(rows), url)
    return {table: pg.rows(f"select * from {table}", url) for table in (
        "interop_connectors", "hl7_messages", "hl7_resource_links", "fhir_routing_rules", "bulk_export_jobs",
        "bulk_export_files", "outbox_events")}


def migrate_filled(s, pg):
    url = database(s, pg, "db_filled")
    before = fill(pg, url)
    said = s.interop("migrate")
    s.check("taken over" in said and "0002_spine.sql: applied" in said, "a filled database is taken over", said)
    for table, rows in before.items():
        now = {row["id"]: row for row in pg.rows(f"select * from {table}", url)}
        kept = all({k: now[row["id"]][k] for k in row if k not in ("name", "message_control_id")} ==
                   {k: row[k] for k in row if k not in ("name", "message_control_id")} for row in rows)
        s.check(kept and len(now) == len(rows), f"{table}: every row is kept as it was")
    s.equal([r["message_control_id"] for r in pg.rows("select message_control_id from hl7_messages "
                                                      "where tenant_id = 'north' order by id", url)],
            ["1", "1~3", "1~2", "1", "2"], "an id that stood twice without a sender gets a free suffix")
    s.equal([r["name"] for r in pg.rows("select name from interop_connectors where tenant_id = 'south' order by id", url)],
            ["adt", "adt-3", "adt-2"], "a name that stood twice gets a free number")
    hashed = hashlib.sha256(message("2", "LAB", "", "north4").replace("||key|", "|||").encode()).hexdigest()
    s.equal(pg.rows("select encode(content_hash, 'hex') h from hl7_messages where id = 'MSG_north4'", url)[0]["h"], hashed,
            "a kept message is known again by its content, MSH-7 and MSH-8 aside")
    seqs = [r["seq"] for r in pg.rows("select seq from hl7_messages order by received_at, id", url)]
    s.check(seqs == sorted(set(seqs)) and seqs[0] % 4096 == 0, "seq follows the time of receipt")
    s.equal([r["tenant_id"] for r in pg.rows("select tenant_id from hl7_resource_links order by id", url)],
            ["north", "south"], "links know their tenant")

    columns = "id, tenant_id, connector_id, direction, message_type, message_control_id, raw_payload, received_at, content_hash"
    for sql, says in (
            (f"insert into hl7_messages ({columns}) values ('X', 'north', 'CONN_north0', 'inbound', 'A', '1', 'x', now(), '')",
             "sending_app_key"),
            (f"insert into hl7_messages ({columns}) values ('X', 'north', 'CONN_south0', 'inbound', 'A', '9', 'x', now(), '')",
             "connector_id_fkey"),
            ("insert into hl7_resource_links (id, tenant_id, message_id, resource_type, resource_id, action)"
             " values ('X', 'north', 'MSG_south0', 'P', '1', 'created')", "message_id_fkey"),
            ("insert into bulk_export_files (id, tenant_id, job_id, resource_type, file_url)"
             " values ('X', 'north', 'JOB_south', 'P', 'x')", "job_id_fkey"),
            ("update interop_connectors set tenant_id = ''", "tenant_id_check"),
            ("update hl7_messages set processing_status = 'done' where id = 'MSG_north0'", "hl7_status_check")):
        s.check(says in pg.refused(sql, url), f"and constrained by {says}")


# ---- connectors -----------------------------------------------------------------------------

BASE = ("connector", "add", "--tenant", "north", "--protocol", "mllp", "--direction", "inbound")


def connectors(s, pg, pack):
    made = s.interop_json(*BASE, "--name", "adt", "--port", "2575", "--pack", pack, "--type", "ADT^A01", "--type", "ORU^*",
                          "--timezone", "Europe/Berlin", "--reused-ids", "accept", "--set", "frame_cap=4MiB")
    s.check(made["id"].startswith("CONN_") and len(made["id"]) == 31, "connector add prints the connector", str(made))
    s.equal({k: made[k] for k in ("tenantId", "name", "protocol", "direction", "port", "tlsEnabled", "authMode",
                                  "messageTypes", "status", "version", "settings")},
            {"tenantId": "north", "name": "adt", "protocol": "mllp", "direction": "inbound", "port": 2575,
             "tlsEnabled": False, "authMode": "none", "messageTypes": ["ADT^A01", "ORU^*"], "status": "configured",
             "version": 1, "settings": {"timezone": "Europe/Berlin", "reused_ids": "accept", "frame_cap": 4194304}},
            "in the words of the data model")

    for says, *more in (
            ("has a connector \"adt\" already", "--name", "adt", "--port", "2576"),
            ("--port is a number", "--name", "x", "--port", "70000"),
            ("say where it listens", "--name", "x"),
            ("give it a name", "--port", "1"),
            ("no message type", "--name", "x", "--port", "1", "--type", "adt"),
            ("unknown setting \"frame_size\" (did you mean \"frame_cap\"?)", "--name", "x", "--port", "1", "--set", "frame_size=1"),
            ("time zone database", "--name", "x", "--port", "1", "--timezone", "Europe/Berln"),
            ("there is no file", "--name", "x", "--port", "1", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"),
            ("nowhere", "--name", "x", "--port", "1", "--pack", "nowhere"),
            ("begins with a letter", "--name", "a b", "--port", "1"),
            ("api-polling asks a peer", "--name", "x", "--protocol", "api-polling", "--direction", "outbound"),
            ("sftp is not in this release", "--name", "x", "--protocol", "sftp"),
            ("outbound is not in this release", "--name", "x", "--direction", "outbound"),
            ("there is no protocol \"mlp\" (did you mean \"mllp\"?)", "--name", "x", "--protocol", "mlp")):
        fails(s, says, *BASE, *more, code=1 if "already" in says or says == "nowhere" else 2)
    s.equal(pg.value("select count(*) n from interop_connectors"), 1, "what was refused left nothing")

    s.equal(s.interop_json("connector", "activate", "adt", "--tenant", "north")["status"], "active", "activate")
    fails(s, "port 2575 is taken by connector", "connector", "add", "--tenant", "south", "--protocol", "mllp",
          "--direction", "inbound", "--name", "adt", "--port", "2575", "--pack", pack, "--activate", code=1)
    s.equal(pg.value("select count(*) n from interop_connectors"), 1, "the port of another tenant is not taken twice")
    other = s.interop_json("connector", "add", "--tenant", "south", "--protocol", "mllp", "--direction", "inbound",
                           "--name", "adt", "--port", "2576", "--pack", pack, "--activate")
    s.equal(other["status"], "active", "--activate")
    fails(s, "has no connector", "connector", "activate", other["id"], "--tenant", "north", code=1)

    changed = s.interop_json("connector", "set", "adt", "--tenant", "north", "--set", "frame_cap=", "--set",
                             "key_paths=PID-3.1,MRG-1", "--port", "2577")
    s.equal((changed["version"], changed["port"], changed["settings"]["key_paths"], "frame_cap" in changed["settings"]),
            (3, 2577, ["PID-3.1", "MRG-1"], False), "connector set changes and raises the version")
    fails(s, "no longer version 2", "connector", "set", "adt", "--tenant", "north", "--version", "2", "--port", "9", code=1)
    fails(s, "taken by connector", "connector", "set", "adt", "--tenant", "north", "--port", "2576", code=1)
    s.equal(s.interop_json("connector", "pause", "adt", "--tenant", "north")["status"], "paused", "pause")
    s.equal(s.interop_json("connector", "deactivate", "adt", "--tenant", "north")["status"], "inactive", "deactivate")
    fails(s, "only an active one can be paused", "connector", "pause", "adt", "--tenant", "north", code=1)
    s.equal([c["name"] for c in lines(s, "connector", "list")], ["adt", "adt"], "connector list without a tenant")
    s.check("2577" in s.interop("connector", "list", "--tenant", "north"), "connector list as a table")
    events = [r["event_type"] for r in pg.rows("select event_type from outbox_events where aggregate_id = "
                                               f"'{made['id']}' order by aggregate_seq")]
    s.equal(events, ["connector.configured", "connector.activated", "connector.changed", "connector.paused",
                     "connector.deactivated"], "each change has its event, in order")
    event = pg.rows(f"select id, subject, payload from outbox_events where aggregate_id = '{made['id']}'"
                    " order by aggregate_seq limit 1")[0]
    s.equal((event["subject"], event["payload"]["specversion"], event["payload"]["type"], event["payload"]["id"]),
            ("interop.north.connector.configured", "1.0", "interop.connector.configured", event["id"]), "a CloudEvent")
    return made["id"]


def tls(s):
    folder = s.scratch

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, capture_output=True, cwd=folder)
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
            "/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem")
    openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "other.pem")
    cert, key, other = (os.path.join(folder, name) for name in ("cert.pem", "key.pem", "other.pem"))
    fails(s, "cert.pem", *BASE, "--name", "tls", "--port", "2600", "--tls-cert", cert, "--tls-key", other)
    fails(s, "tls_key is missing", *BASE, "--name", "tls", "--port", "2600", "--tls-cert", cert)
    made = s.interop_json(*BASE, "--name", "tls", "--port", "2600", "--tls-cert", os.path.relpath(cert, ROOT), "--tls-key",
                          key, "--tls-ca", cert)
    s.equal((made["tlsEnabled"], made["authMode"], made["settings"]["tls_certificate"]), (True, "client-cert", cert),
            "with a certificate a connector speaks TLS, and its files are kept by their whole path")


def packs(s, pg, pack):
    pushed = s.interop_json("pack", "push", pack, "--tenant", "north", "--connector", "adt")
    s.check(re.fullmatch("[0-9a-f]{64}", pushed["digest"]) and not pushed["added"], "the same pack is stored once", str(pushed))
    with open(os.path.join(pack, "all.lua"), "a", encoding="utf-8") as file:
        file.write("-- changed\n")
    again = s.interop_json("pack", "push", pack, "--tenant", "north", "--connector", "adt")
    s.check(again["added"] and again["digest"] != pushed["digest"], "a changed one is another")
    s.equal(pg.value("select pack_digest from interop_connectors where tenant_id = 'north' and name = 'adt'"),
            again["digest"], "and the connector runs it")
    listed = lines(s, "pack", "list", "--tenant", "north")
    s.equal([(p["digest"], p["connectors"]) for p in listed], [(again["digest"], ["adt"]), (pushed["digest"], [])],
            "pack list says who runs what")
    fails(s, "no setting", "connector", "set", "adt", "--tenant", "north", "--set", 'script={"nothing":1}')
    with open(os.path.join(pack, "all.lua"), "w", encoding="utf-8") as file:
        file.write("return function(\n")
    fails(s, "all.lua", "pack", "push", pack, "--tenant", "north", "--connector", "adt", code=1)
    s.equal(pg.value("select count(*) n from script_packs where tenant_id = 'north'"), 2, "a pack that does not load is not stored")


def rules(s, pg):
    rule = s.interop_json("rule", "add", "--type", "*", "--url", "http://127.0.0.1:8090/fhir/")
    s.equal((rule["resourceType"], rule["serviceUrl"], rule["serviceName"], rule["active"]),
            ("*", "http://127.0.0.1:8090/fhir", "127.0.0.1:8090", True), "rule add")
    fails(s, rule["id"], "rule", "add", "--type", "*", "--url", "http://127.0.0.1:9/fhir", code=1)
    fails(s, "did you mean \"Patient\"?", "rule", "add", "--type", "Pateint", "--url", "http://h")
    fails(s, "http:// or https://", "rule", "add", "--type", "Patient", "--url", "ftp://h")
    fails(s, "no user or password", "rule", "add", "--type", "Patient", "--url", "http://a:b@h")
    fails(s, "say where to", "rule", "add", "--type", "Patient")
    own = s.interop_json("rule", "add", "--type", "Observation", "--category", "laboratory", "--url",
                         "http://127.0.0.1:8090/lab", "--name", "lab-archive", "--priority", "5", "--tenant", "north")
    s.equal((own["serviceName"], own["priority"], own["category"]), ("lab-archive", 5, "laboratory"), "a tenant's own service")
    second = s.interop_json("rule", "add", "--type", "Patient", "--url", "http://127.0.0.1:8090/two")
    s.equal(second["serviceName"], "127.0.0.1:8090-2", "a name that is taken gets a number")
    s.equal([r["resourceType"] for r in lines(s, "rule", "list")], ["Observation", "Patient", "*"], "rule list")
    s.equal(pg.rows("select name, tenant_id from fhir_services order by name"),
            [{"name": "127.0.0.1:8090", "tenant_id": None}, {"name": "127.0.0.1:8090-2", "tenant_id": None},
             {"name": "lab-archive", "tenant_id": "north"}], "services are shared, or one tenant's")
    s.interop("rule", "deactivate", second["id"])
    s.equal(len(lines(s, "rule", "list")), 2, "rule deactivate")
    fails(s, "no active rule", "rule", "deactivate", second["id"], code=1)
    s.equal(pg.value("select count(*) n from outbox_events where event_type in ('rule.added', 'rule.deactivated',"
                     " 'service.configured') and tenant_id = '_platform'"), 6, "events of the platform's configuration")


# ---- messages and quarantine ------------------------------------------------------------------

def put_message(pg, connector, name, status, seq, keys="{}", raw_bytes="null", text=None):
    text = text if text is not None else message(name)
    pg.psql("insert into hl7_messages (id, tenant_id, connector_id, direction, message_type, message_control_id,"
            " sending_app, raw_payload, raw_bytes, content_hash, processing_status, seq, lane_keys, received_at, attempt_count,"
            f" error_detail, transformed_at) values ('MSG_{name}', 'north', '{connector}', 'inbound', 'ADT^A01', '{name}',"
            f" 'LAB', {quoted(text)}, {raw_bytes}, '', '{status}', {seq}, '{keys}', now(), 3, 'it went wrong', now())")


def messages(s, pg, connector):
    put_message(pg, connector, "ONE", "dead_lettered", 4096, "{42^HOSP}")
    put_message(pg, connector, "TWO", "processed", 8192, "{42^HOSP,43^HOSP}")
    put_message(pg, connector, "THREE", "pending", 12288, "{44^HOSP}")
    put_message(pg, connector, "FOUR", "failed", 16384, "{45^HOSP}", text="MSH|^~\\&|\u2400\x1b[31m|",
                raw_bytes="'\\x4d53487c5e7e5c267c00ff1b'")
    pg.psql("insert into hl7_deliveries (id, tenant_id, message_id, connector_id, ordinal, seq, service_url, entry_count,"
            " status, error_detail) values ('DLV_1', 'north', 'MSG_ONE', '" + connector + "', 0, 1,"
            " 'http://127.0.0.1:8090/fhir', 1, 'failed', 'HTTP 503'), ('DLV_2', 'north', 'MSG_ONE', '" + connector + "',"
            " 1, 2, 'http://x', 1, 'delivered', null); insert into hl7_resource_links (id, tenant_id, message_id,"
            " resource_type, resource_id, action, delivery_id, entry) values ('LNK_1', 'north', 'MSG_ONE', 'Patient', '7',"
            " 'created', 'DLV_2', 0)")

    def listed(*filters):
        return [m["messageControlId"] for m in lines(s, "message", "list", "--tenant", "north", "--limit", "10", *filters)]
    s.equal(sorted(listed()), ["FOUR", "ONE", "THREE", "TWO"], "message list")
    s.equal(listed("--status", "failed"), ["FOUR"], "by status")
    s.equal(sorted(listed("--type", "ADT")), ["FOUR", "ONE", "THREE", "TWO"], "by type")
    s.equal(listed("--type", "ORU^R01"), [], "by another type")
    s.equal(listed("--control-id", "TWO"), ["TWO"], "by control id")
    s.equal(listed("--connector", "nothing"), [], "by connector")
    s.equal(listed("--before", "MSG_ONE"), ["FOUR"], "by page")
    s.equal(lines(s, "message", "list", "--tenant", "south"), [], "another tenant's are not there")
    one = lines(s, "message", "list", "--tenant", "north", "--control-id", "ONE")[0]
    s.check("rawPayload" not in one and one["attemptCount"] == 3, "a list has no payload", str(one))
    table = s.interop("message", "list", "--tenant", "north")
    s.check("dead_lettered" in table and "it went wrong" in table, "message list as a table", table)

    shown = s.interop_json("message", "show", "MSG_ONE", "--tenant", "north")
    s.equal((shown["rawPayload"], shown["deliveries"][1]["links"][0]["resourceId"], shown["deliveries"][0]["errorDetail"]),
            (message("ONE"), "7", "HTTP 503"), "message show has payload, deliveries and links")
    text = s.interop("message", "show", "MSG_ONE", "--tenant", "north")
    s.check("PID|1||42^^^HOSP||Doe^A\n" in text and "Patient/7 created" in text, "message show for people", text)
    s.equal(s.run("message", "show", "MSG_ONE", "--tenant", "north", "--format", "raw").stdout, message("ONE").encode(),
            "--format raw gives the bytes")
    s.equal(s.run("message", "show", "MSG_FOUR", "--tenant", "north", "--format", "raw").stdout, b"MSH|^~\\&|\x00\xff\x1b",
            "also those that are no text")
    s.check(b"\x1b" not in s.run("message", "show", "MSG_FOUR", "--tenant", "north").stdout,
            "no escape sequence reaches the terminal")
    fails(s, "was not parsed yet", "message", "show", "MSG_ONE", "--tenant", "north", "--format", "parsed", code=1)
    segments = json.dumps({"delimiters": "|^~\\&", "terminator": "\r",
                           "segments": [["MSH", "|", "^~\\&", "LAB"], ["PID", "1", "", [["42", "", "", "HOSP"]]]]})
    pg.psql(f"update hl7_messages set parsed_data = {quoted(segments)}::jsonb where id = 'MSG_ONE'")
    s.equal(s.run("message", "show", "MSG_ONE", "--tenant", "north", "--format", "parsed").stdout,
            b"MSH|^~\\&|LAB\rPID|1||42^^^HOSP\r", "--format parsed rebuilds it")
    fails(s, "has no message MSG_ONE", "message", "show", "MSG_ONE", "--tenant", "south", code=1)

    fails(s, "later message of the same key was processed (MSG_TWO)", "message", "replay", "MSG_ONE", "--tenant", "north", code=1)
    fails(s, "is pending: it is in work", "message", "replay", "MSG_THREE", "--tenant", "north", code=1)
    fails(s, "has no message", "message", "replay", "MSG_TWO", "--tenant", "south", code=1)
    s.interop("message", "replay", "MSG_FOUR", "--tenant", "north")
    s.interop("message", "replay", "MSG_ONE", "--tenant", "north", "--force")
    row = pg.rows("select processing_status, attempt_count, error_detail, transformed_at, replay_count, event_seq, seq"
                  " from hl7_messages where id = 'MSG_ONE'")[0]
    s.check(row["seq"] % 4096 == 0 and row["seq"] > pg.value("select seq from hl7_messages where id = 'MSG_FOUR'"),
            "a replay stands at the tail")
    del row["seq"]
    s.equal(row, {"processing_status": "pending", "attempt_count": 0, "error_detail": None, "transformed_at": None,
                  "replay_count": 1, "event_seq": 2}, "and begins anew")
    s.equal([r["status"] for r in pg.rows("select status from hl7_deliveries order by ordinal")],
            ["superseded", "delivered"], "open deliveries are superseded")
    s.equal(pg.rows("select subject, aggregate_seq from outbox_events where aggregate_id = 'MSG_ONE'"),
            [{"subject": "interop.north.message.replayed", "aggregate_seq": 2}], "with its event")


def quarantine(s, pg, connector):
    pg.psql("insert into hl7_quarantine (id, tenant_id, connector_id, reason, detail, digest, bytes, byte_count) values"
            f" ('QTN_1', 'north', '{connector}', 'no-header', 'no MSH', '\\x01', '\\x00ff', 2),"
            f" ('QTN_2', 'north', '{connector}', 'too-long', 'cut', '\\x02', '\\x00ff', 99)")
    s.equal([q["reason"] for q in lines(s, "quarantine", "list", "--tenant", "north")], ["too-long", "no-header"],
            "quarantine list")
    s.equal(s.run("quarantine", "show", "QTN_1", "--tenant", "north", "--format", "raw").stdout, b"\x00\xff", "its bytes")
    fails(s, "only a part", "quarantine", "release", "QTN_2", "--tenant", "north", code=1)
    fails(s, "nothing in quarantine", "quarantine", "release", "QTN_1", "--tenant", "south", code=1)
    s.interop("quarantine", "release", "QTN_1", "--tenant", "north")
    fails(s, "has not ingested it yet", "quarantine", "release", "QTN_1", "--tenant", "north", code=1)
    s.equal([q["id"] for q in lines(s, "quarantine", "list", "--tenant", "north", "--all")], ["QTN_2", "QTN_1"],
            "what was released is listed with --all")
    s.equal(pg.value("select count(*) n from outbox_events where event_type = 'quarantine.released'"), 1, "with its event")


# ---- what goes wrong at once --------------------------------------------------------------------

def bad_configuration(s, pg):
    path = os.path.join(s.folder, "interop.conf")
    with open(path, "w", encoding="utf-8") as file:
        file.write("# ours\ndatabse_url = x\n")
    fails(s, f"{path}:2: unknown key \"databse_url\" (did you mean \"database_url\"?)", "rule", "list", "--config", path)
    fails(s, "INTEROP_HTTP: http takes HOST:PORT", "rule", "list", env={"INTEROP_HTTP": "here"})
    fails(s, "set INTEROP_DATABASE_URL", "rule", "list", env={"INTEROP_DATABASE_URL": ""})
    fails(s, "INTEROP_OWNER_DATABASE_URL", "migrate", env={"INTEROP_OWNER_DATABASE_URL": ""})
    fails(s, "cannot be read", "rule", "list", env={"INTEROP_DATABASE_URL": "postgresql://u:s3cret@h/%zz"})
    fails(s, "check that PostgreSQL runs there", "rule", "list",
          env={"INTEROP_DATABASE_URL": "postgresql://engine@127.0.0.1:1/interop"})
    fails(s, "say whose", "message", "list")
    s.check("frame_cap         16MiB" in s.interop("connector", "settings"), "connector settings tells what --set takes")
    fails(s, "--format is text or json", "message", "list", "--tenant", "north", "--format", "xml")
    done = subprocess.run([BINARY, "mesage"], capture_output=True, text=True, check=False)
    s.check(done.returncode == 2 and 'did you mean "message"?' in done.stderr, "an unknown command", done.stderr)
    s.equal(subprocess.run([BINARY, "--version"], capture_output=True, text=True, check=True).stdout.split()[0], "interop",
            "--version")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"database_url = {s.env['INTEROP_DATABASE_URL']}\n")
    s.interop("rule", "list", "--config", path, env={"INTEROP_DATABASE_URL": pg.engine_url})


def make_pack(s):
    folder = os.path.join(s.folder, "pack")
    os.makedirs(folder)
    with open(os.path.join(folder, "pack.lua"), "w", encoding="utf-8") as file:
        file.write('return { name = "pack", version = "1.0.0", handlers = { ["*"] = "all" },\n'
                   '         settings = { facility = { type = "string", default = "WEST" } } }\n')
    with open(os.path.join(folder, "all.lua"), "w", encoding="utf-8") as file:
        file.write('return function(msg, out) out:skip "nothing to do" end\n')
    return folder


def main():
    with Scenario("admin") as s:
        pg = s.postgres()
        migrate_empty(s, pg)
        migrate_changed(s, pg)
        bad_configuration(s, pg)
        pack = make_pack(s)
        connector = connectors(s, pg, pack)
        tls(s)
        packs(s, pg, pack)
        rules(s, pg)
        messages(s, pg, connector)
        quarantine(s, pg, connector)
        migrate_together(s, pg)
        migrate_interrupted(s, pg)
        migrate_without_grants(s, pg)
        migrate_roles(s, pg)
        migrate_filled(s, pg)


if __name__ == "__main__":
    sys.exit(main())

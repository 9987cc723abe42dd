"""How each promise is broken on purpose, and the test that must notice.

A mutant is one or a few exact replacements; each `old` stands once in its file, else the list has to be
brought up to date (CTest: mutants/apply). `test` is a scenario with cases of it, or a unit test."""
import collections

Mutant = collections.namedtuple("Mutant", "name breaks edits test")


def mutant(name, breaks, test, *edits):
    """Each edit: (file, old, new)."""
    return Mutant(name, breaks, edits, test.split())


INTAKE, INGEST, PG, WRITER = "src/engine/intake.c", "src/store/ingest.c", "src/store/pg.c", "src/store/writer.c"
CALL, DELIVER, NODE, FLOW = "src/engine/deliver_call.c", "src/engine/deliver.c", "src/engine/node.c", "src/engine/flow.c"
FEED, READING = "src/engine/connector_feed.c", "src/engine/reading.c"
STREAM, ASIDE = "src/engine/stream.c", "src/engine/aside.c"
SPINE, NODES = "sql/0002_spine.sql", "sql/0003_nodes.sql"

MUTANTS = [
    # ---- P1 durable ----
    mutant("p1-standby-not-waited-for", "a commit that the synchronous standby did not confirm counts as one", "promises p1_synchronous_replication",
           (PG, "    if (u->doubtful) {\n", "    if (false) {\n")),
    mutant("p1-role-chooses-durability", "a role's synchronous_commit is in force", "promises p1_synchronous_replication",
           ("src/store/conninfo.c", '"-c synchronous_commit=on -c ', '"-c synchronous_commit=local -c ')),
    mutant("p1-fsync-off", "a server without fsync is worked with", "promises p1_refuses_fsync_off",
           ("src/engine/engine.c", "    if (!says_on(pg_cell(&results[0], 0, SERVER_FSYNC)) || ", "    if (")),
    mutant("p1-answer-before-commit", "what was sent to the database is acknowledged before it answers", "promises p1_waits_for_the_insert",
           (INTAKE, "    ingest_put(c->e->in, &j->store);\n",
            "    ingest_put(c->e->in, &j->store);\n"
            "    if (p->ticket != NULL && !p->several) {\n"
            "        buf early = buf_in(NULL);\n"
            "        static const answer yes = { .kind = ANSWER_POSITIVE };\n"
            "        (void)answer_write(&early, NEXT_FRAME, c->settings.mode, &j->sent, &yes);\n"
            "        mllp_answer_part(p->ticket, buf_slice(&early));\n"
            "        buf_free(&early);\n"
            "    }\n")),

    # ---- P2 once ----
    mutant("p2-content-not-compared", "an id used again for other content is taken for a repeat", "promises p2_reused_refused",
           (INGEST, "        if (!slice_is(pg_cell(r, i, 2), sha256_hex(&op->hash, hex))) continue;\n", "        (void)sha256_hex(&op->hash, hex);\n")),
    mutant("p2-no-sender-twice", "a message without MSH-3 is stored twice", "promises p2_no_sender",
           (SPINE, "UNIQUE NULLS NOT DISTINCT (connector_id, message_control_id, sending_app)",
            "UNIQUE (connector_id, message_control_id, sending_app)")),
    mutant("p2-failed-not-tried", "a failed message that is sent again is left as it is", "promises_delivery p4_sent_again",
           (INTAKE, "            flow_try_again(c, &op->found_id);\n", "            (void)c;\n")),
    mutant("p2-positive-too-early", "the acknowledgement does not wait for what the connector promises", "ack_levels mapped",
           (INTAKE, "    if (s->level == ACK_LEVEL_STORED || ", "    if (true || ")),

    # ---- P3 in order ----
    mutant("p3-each-its-own-lane", "messages of a key do not wait for each other", "overflow",
           (FLOW, "    lanes_enter(&c->lanes, &j->pass, 0, j->keys, j->key_count);\n    failpoint(",
            "    lanes_enter(&c->lanes, &j->pass, (uint64_t)j->seq, j->keys, j->key_count);\n    failpoint(")),
    mutant("p3-floor-lies", "reading back passes over what is still being stored", "overflow",
           (INGEST, "        if (s->lane[i].sent > 0 && s->lane[i].floor < floor) floor = s->lane[i].floor;\n", "        (void)i;\n"),
           (FEED, "    if (seq <= c->fed_seq) c->from_start = true;         /* the sequence went back: a failover, a restore */\n", "    (void)seq;\n")),
    mutant("p3-batch-overtaken", "frames behind a batch do not wait for it", "batches long_batch stopped",
           (INTAKE, "    parcel *ahead = batch_ahead(c->e, mllp_ticket_conn(ticket));\n", "    parcel *ahead = NULL;\n")),
    mutant("p3-waits-in-memory", "what only waits takes the memory that others need", "waiting dead_target poisoned_key",
           ("src/engine/connector_aside.c", "    if (c->made_room_ns != 0 && now - c->made_room_ns < PAUSE_NS) return;\n", "    if (now > 0) return;\n")),
    mutant("p3-merge-let-go", "of what is set aside only the first key is", "waiting poisoned_key",
           (ASIDE, "    for (size_t i = 0; i < count; i++) add(a, keys[i], seq, wake_us);\n", "    if (count > 0) add(a, keys[0], seq, wake_us);\n")),
    mutant("p3-never-tried-again", "a failed message that left memory is not tried again when it is due", "waiting many_poisoned",
           (ASIDE, "    earlier(&a->wake_us, wake_us);\n    if (a->all)", "    if (a->all)")),
    mutant("p3-set-aside-for-ever", "what was set aside does not come back when its key is free", "waiting poisoned_key",
           ("src/engine/connector_aside.c", "    connector_read_from(c, from);\n", "")),
    mutant("p3-new-before-waiting", "what is made for a service goes before what still waits for it", "waiting dead_target comes_and_goes",
           (STREAM, "    } else if (!s->reading || (own && j->seq <= s->cursor)) {\n", "    } else if (!j->redelivery || (own && j->seq <= s->cursor)) {\n")),
    mutant("p3-cursor-not-lowered", "what leaves memory again is not read again", "waiting dead_target comes_and_goes refused_delivery",
           (STREAM, "    if (seq > s->cursor) return;\n", "    if (seq > s->cursor || s->reading) return;\n")),
    mutant("p3-answer-not-waited-for", "what needs an answer that is missing is in the way of others", "waiting answer_needed",
           (STREAM, "        if (d->j->deliveries[d->plan->needs[i]].state == DELIVERY_ASIDE) return true;\n", "        (void)d;\n"),
           ("src/engine/stream_room.c", "        if (other->state == DELIVERY_ASIDE || (other->of->stuck && waits(other))) return true;\n", "        (void)other;\n")),
    mutant("p3-routed-anew", "what waits is placed by the rules of the day", "waiting rerouted",
           ("src/engine/plan.c", "        if (!made[i].known) return", "        if (true) return")),
    mutant("p3-no-handover", "who stores does not tell who runs the connector", "nodes",
           (INGEST, "WHERE EXISTS (SELECT FROM interop_nodes n WHERE n.id <> $17)", "WHERE $17 IS NULL")),
    mutant("p3-deaf-to-handovers", "who runs the connector does not listen to who stores", "nodes",
           ("src/engine/connector_owner.c", "    if (c->epoch == 0 || known >= base) return;          /* who takes it reads everything */\n",
            "    if (c->epoch >= 0 || known >= base) return;\n")),
    mutant("p3-reading-overtakes", "what a reading tells of batches that it passed over is not looked at", "nodes late_word",
           (FEED, "    if (pg_rows(r) > 0 && !all_heard(", "    if (pg_rows(r) > 0 && c->e == NULL && !all_heard(")),
    mutant("p3-parked-too-short", "what is stored during a reading does not wait for one that began afterwards", "nodes stored_during_a_reading",
           ("src/engine/connector_parked.c", "        if (j->parked_in >= readings) continue;\n", "        (void)readings;\n")),
    mutant("p3-parked-not-placed", "what is stored during a reading enters behind all that it brings", "nodes acknowledged_then_sent_to_the_other",
           (FEED, "        parked_enter_until(c, last);\n", ""),
           (FEED, "    j = parked_take(c, message_id);\n    if (j == NULL) enter_from_row(c, r, row);\n    else if (!connector_sets_job_aside(c, j)) flow_enter(j);\n",
            "    j = NULL;\n    list_each(l, &c->parked)\n        if (slice_eq(id_slice(&container_of(l, job, run_link)->message_id), message_id)) j = container_of(l, job, run_link);\n"
            "    if (j == NULL) enter_from_row(c, r, row);\n")),
    mutant("p3-two-ways", "frames of a connection go another way while some of it are on theirs", "nodes another_joins",
           (INGEST, "    if (s->used != s->wanted && s->before > 0) return;\n", "")),
    mutant("p3-taker-does-not-wait", "a connector is taken over while who had it still writes", "nodes long_transaction",
           (NODE, "    if (e != ERR_OK || pg_cell_int(&results[0], 0, 1) > 0) {\n", "    if (e != ERR_OK) {\n")),
    mutant("p3-sends-without-a-lease", "a node that lost its lease goes on sending", "failpoints hangs",
           (CALL, "    if (!engine_may_send(all->e)) return VERDICT_HELD;\n", ""),
           (CALL, "        .send_until_ms = all->e->send_until_ms,\n", "")),
    mutant("p3-sent-too-late", "a request that waited for its connection is sent after the lease", "failpoints hangs",
           (CALL, "        .send_until_ms = all->e->send_until_ms,\n", "")),
    mutant("p3-poison-spreads", "a poisoned message holds up other keys", "promises_delivery p4_poison",
           (INTAKE, "    j->key_count = hl7_keys(", "    j->key_count = 0 * hl7_keys(")),

    # ---- P4 delivered ----
    mutant("p4-unconditional", "resources are created without a condition", "promises_delivery p4_answer_lost",
           (CALL, "                                .if_none_exist = p->if_none_exist };\n", "                                .if_none_exist = SLICE_NONE };\n")),
    mutant("p4-targets-fault-counts", "a dead service uses up a message's attempts", "promises_delivery p4_service_503",
           (CALL, "        return others ? VERDICT_MESSAGE : VERDICT_TARGET;\n", "        return others ? VERDICT_MESSAGE : VERDICT_MESSAGE;\n")),
    mutant("p4-one-attempt", "what a service refuses is dead at once", "promises_delivery p4_retries",
           (DELIVER, "        bool last = d->attempts + 1 >= s->max_attempts;\n", "        bool last = d->attempts + 1 >= 1 || s->max_attempts == 0;\n")),
    mutant("p4-needs-ignored", "a delivery goes before what it refers to", "promises_delivery p4_two_targets",
           (DELIVER, "    if (d->needs_left > 0) {\n        d->state = DELIVERY_NEEDS;\n    } else if", "    if")),

    # ---- P5 nothing vanishes ----
    mutant("p5-refused-not-kept", "what cannot be stored as a message is answered and dropped", "promises p5_each_reason",
           (INTAKE, "    part_quarantine(q, reason);\n}", "    q->reason = reason;\n    part_end(q, false);\n}")),
    mutant("p5-no-quota", "quarantine grows without a bound", "promises p5_counted p5_bytes_quota",
           ("src/store/quarantine_in.c", "(used.n < $9::bigint AND used.size + $7::int <= $10::bigint)",
            "(used.n + $9::bigint + used.size + $7::int + $10::bigint >= 0)")),
    mutant("p5-release-lost", "a release that a crash cut short is forgotten", "batches released",
           ("src/engine/released.c", "    if (c->epoch != 0) quarantine_find_released(", "    if (c->epoch < 0) quarantine_find_released(")),

    # ---- P6 immutable ----
    mutant("p6-mutable", "stored bytes can be changed", "promises p6_immutable",
           (SPINE, "  RAISE EXCEPTION 'the stored bytes of a message are immutable'\n"
            "    USING ERRCODE = 'integrity_constraint_violation', HINT = 'store a new message instead';\n", "  RETURN NEW;\n")),
    mutant("p6-decoded-only", "bytes that are not UTF-8 are kept decoded only", "promises p6_exact_bytes",
           (INTAKE, ".bytes = j->exact ? SLICE_NONE : j->bytes,", ".bytes = SLICE_NONE,")),

    # ---- P7 apart ----
    mutant("p7-open-policy", "a table's policy lets every tenant see all", "isolation",
           (SPINE, "CREATE POLICY quarantine_tenant ON hl7_quarantine     USING (tenant_id = current_setting('app.current_tenant_id'));",
            "CREATE POLICY quarantine_tenant ON hl7_quarantine     USING (TRUE);")),
    mutant("p7-not-forced", "the owner's role sees past row-level security", "isolation",
           (SPINE, "    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);\n", "")),
    mutant("p7-no-share-of-memory", "who came first may have all of the memory", "overflow",
           (READING, "    if (has > 2 * of_all) of_all = 0;\n", ""),
           (READING, "larger(larger(of_all, own), less(ALWAYS, has))", "larger(larger(of_all, own * 0), less(ALWAYS, has))")),
    mutant("p7-most-used-first", "who used the most CPU time goes first", "promises_delivery p7_by_time",
           ("src/engine/transform.c", "used < least", "used > least")),
    mutant("p7-by-turns", "tenants take turns of one message, however long each takes", "promises_delivery p7_by_time",
           ("src/engine/transform.c", "    q->used_ns += used;\n", "    q->used_ns += 1;\n"),
           ("src/engine/transform.c", "        w->turn_ns += used;\n", "        w->turn_ns = TURN_NS;\n")),

    # ---- P8 contained ----
    mutant("p8-no-cpu-budget", "a script's CPU time is not looked at", "unit script/sandbox",
           ("src/script/budget.c", "    else if (clock_cpu_ns() >= b->cpu_end) budget_spend(b, BUDGET_CPU);\n", "")),
    mutant("p8-no-memory-cap", "a script may take all memory", "containment",
           ("src/script/heap.c", "    if (want > old && want - old > h->limit - h->used) return NULL;\n", "")),

    # ---- P9 secret ----
    mutant("p9-postgresql-quotes", "PostgreSQL's text about a value is told", "promises p9_database",
           (PG, '    if (strncmp(u->sqlstate, "22", 2) == 0)\n', "    if (text == NULL)\n")),
    mutant("p9-script-errors-logged", "a script's own error text is logged", "promises p9_scripts",
           (FLOW, '             log_word("kind", err_name(j->run_error)));\n', "             log_why(&j->run_why));\n")),

    # ---- P10 told ----
    mutant("p10-no-event", "a message is stored without its event", "promises p10_every_change",
           (INGEST, '$4::text[]) AS s (tenant, id, connector, type))"', '$4::text[]) AS s (tenant, id, connector, type) WHERE s.id IS NULL)"')),
    mutant("p10-unpublished-marked", "what the broker did not take is marked as published", "promises p10_broker_away p10_broker_hangs",
           ("src/engine/relay.c", "        if (r->events[i]->acked) ids[n++] = r->events[i]->event_id;\n", "        ids[n++] = r->events[i]->event_id;\n")),

    # ---- the database's faults ----
    mutant("db-predecessors-kept", "what a lost connection left behind keeps its locks", "database cut hangs",
           (PG, "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE", "SELECT pid FROM pg_stat_activity WHERE")),
    mutant("db-no-patience", "a server that does not answer is waited for for ever", "database hangs suspended",
           (PG, "    if (late && c->overdue) {\n", "    if (false) {\n")),
    mutant("db-ready-though-silent", "/readyz says ready while the server is silent", "database locked hangs suspended",
           (PG, "    if (c->state == PG_READY && quiet < c->patience_ms / 6) return true;\n", "    if (c->state == PG_READY) return true;\n")),
    mutant("db-ready-though-refused", "/readyz says ready while nothing can be stored", "database_errors revoked",
           (WRITER, "    if (w->failing_ns == 0 || ms_since(w->failing_ns) < UNWELL_MS) return true;\n", "    if (w != NULL) return true;\n")),
    mutant("db-read-only-kept", "a server that became read-only is kept", "database_errors read_only",
           (PG, "    if (read_only && c->state == PG_READY) {\n", "    if (false) {\n        (void)read_only;\n")),
    mutant("db-told-every-time", "a fault that lasts is told each time", "database_errors",
           (WRITER, "    bool known = w->told_ns != 0 && strcmp(w->told, sqlstate) == 0 && ms_since(w->told_ns) < TELL_AGAIN_MS;\n",
            "    bool known = false;\n")),
    mutant("db-roles-isolation", "a role's isolation level is in force", "database_errors",
           ("src/store/conninfo.c", " -c default_transaction_isolation=read\\\\ committed", "")),
]

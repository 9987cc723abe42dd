-- Several engines on one database: each is a node, and each connector is run by the node that holds
-- its lease. Whichever node stores a message, the holder transforms and delivers it.

CREATE TABLE interop_nodes (
  id         TEXT PRIMARY KEY,                        -- NODE_ prefixed ULID, a new one at each start
  name       TEXT NOT NULL,                           -- for people: host name and process
  instance   TEXT NOT NULL,                           -- at the end of the application_name of its connections
  host       TEXT NOT NULL,                           -- where `pid` means something: boot and namespace
  pid        INTEGER NOT NULL,
  pid_since  BIGINT NOT NULL,                         -- when that process began, as the kernel counts
  release    TEXT NOT NULL,
  started_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  expires_at TIMESTAMPTZ NOT NULL                     -- of all its leases; renewed while it runs
);

-- `epoch` grows with each change of holder: what a former one still writes is refused by it.
CREATE SEQUENCE interop_lease_epoch_seq;
CREATE TABLE interop_leases (
  connector_id TEXT PRIMARY KEY,
  tenant_id    TEXT NOT NULL CHECK (tenant_id <> ''),
  node_id      TEXT,                                  -- the holder; NULL, or of a node that is gone: free
  epoch        BIGINT NOT NULL,
  taken_at     TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
  FOREIGN KEY (tenant_id, connector_id) REFERENCES interop_connectors (tenant_id, id) ON DELETE CASCADE
);
CREATE INDEX idx_interop_leases_node ON interop_leases (node_id);

-- How far others than the holder have stored: one row for each of their database connections, so that
-- they do not wait for each other. The holder reads back what it does not know yet.
CREATE TABLE interop_handovers (
  connector_id TEXT NOT NULL,
  writer       TEXT NOT NULL,
  tenant_id    TEXT NOT NULL CHECK (tenant_id <> ''),
  seq          BIGINT NOT NULL,                       -- of its newest batch
  PRIMARY KEY (connector_id, writer),
  FOREIGN KEY (tenant_id, connector_id) REFERENCES interop_connectors (tenant_id, id) ON DELETE CASCADE
);

CREATE POLICY leases_tenant    ON interop_leases    USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY leases_system    ON interop_leases    FOR ALL TO interop_system USING (TRUE);
CREATE POLICY handovers_tenant ON interop_handovers USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY handovers_system ON interop_handovers FOR ALL TO interop_system USING (TRUE);
ALTER TABLE interop_leases    ENABLE ROW LEVEL SECURITY;
ALTER TABLE interop_leases    FORCE  ROW LEVEL SECURITY;
ALTER TABLE interop_handovers ENABLE ROW LEVEL SECURITY;
ALTER TABLE interop_handovers FORCE  ROW LEVEL SECURITY;
GRANT SELECT, INSERT, UPDATE, DELETE ON interop_nodes, interop_leases, interop_handovers TO interop_system;
GRANT USAGE ON SEQUENCE interop_lease_epoch_seq TO interop_system;

-- ---- nodes -------------------------------------------------------------------------

CREATE FUNCTION interop_node_join(node TEXT, name TEXT, instance TEXT, host TEXT, pid INTEGER, pid_since BIGINT,
                                  release TEXT, lease_ms INTEGER) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  INSERT INTO public.interop_nodes (id, name, instance, host, pid, pid_since, release, expires_at)
  VALUES (node, name, instance, host, pid, pid_since, release, clock_timestamp() + lease_ms * interval '1 ms')
  ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at
$$;

-- Renews the leases of a node. False: it was taken for dead, and others have its connectors. Nodes that
-- have not renewed theirs for `grace_ms` longer than they held them are dead.
CREATE FUNCTION interop_node_beat(node TEXT, lease_ms INTEGER, grace_ms INTEGER) RETURNS BOOLEAN
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
DECLARE alive BOOLEAN;
BEGIN
  UPDATE public.interop_nodes n SET expires_at = clock_timestamp() + lease_ms * interval '1 ms' WHERE n.id = node;
  alive := FOUND;
  IF alive THEN
    DELETE FROM public.interop_nodes n
     WHERE n.id IN (SELECT o.id FROM public.interop_nodes o
                     WHERE o.expires_at + grace_ms * interval '1 ms' < clock_timestamp() FOR UPDATE SKIP LOCKED);
  END IF;
  RETURN alive;
END $$;

-- It has stopped, or its process is known to be gone.
CREATE FUNCTION interop_node_leave(node TEXT) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  DELETE FROM public.interop_nodes WHERE id = node
$$;

-- ---- leases ------------------------------------------------------------------------

-- What a node is to take (free, and its own by rendezvous hashing among the nodes) and what it is to
-- give up (another's by that).
CREATE FUNCTION interop_lease_changes(node TEXT) RETURNS TABLE (connector_id TEXT, take BOOLEAN)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT s.id, NOT s.mine
    FROM (SELECT c.id, l.node_id IS NOT DISTINCT FROM node AS mine, h.id IS NULL AS free,
                 (SELECT n.id FROM public.interop_nodes n
                   ORDER BY hashtextextended(n.id || c.id, 0) DESC, n.id LIMIT 1) = node AS wanted
            FROM public.interop_connectors c
            LEFT JOIN public.interop_leases l ON l.connector_id = c.id
            LEFT JOIN public.interop_nodes h ON h.id = l.node_id) s
   WHERE (s.mine AND NOT s.wanted) OR (s.free AND s.wanted)
   ORDER BY s.id
$$;

-- Takes what is free of these, and anew what is the node's already; returns what it holds now.
CREATE FUNCTION interop_lease_take(node TEXT, connectors TEXT[]) RETURNS TABLE (connector_id TEXT, epoch BIGINT)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
BEGIN
  PERFORM FROM public.interop_nodes n WHERE n.id = node FOR KEY SHARE;
  IF NOT FOUND THEN RETURN; END IF;
  RETURN QUERY
  INSERT INTO public.interop_leases AS l (connector_id, tenant_id, node_id, epoch)
  SELECT c.id, c.tenant_id, node, nextval('public.interop_lease_epoch_seq')
    FROM public.interop_connectors c WHERE c.id = ANY (connectors) ORDER BY c.id
  ON CONFLICT (connector_id) DO UPDATE
     SET node_id = excluded.node_id, epoch = excluded.epoch, taken_at = excluded.taken_at
   WHERE l.node_id IS NULL OR l.node_id = node
      OR NOT EXISTS (SELECT FROM public.interop_nodes n WHERE n.id = l.node_id)
  RETURNING l.connector_id, l.epoch;
  -- Who holds it now reads everything that is open: what was handed over so far is among it.
  DELETE FROM public.interop_handovers h
   USING public.interop_leases l
   WHERE h.connector_id = ANY (connectors) AND l.connector_id = h.connector_id AND l.node_id = node;
END $$;

CREATE FUNCTION interop_lease_release(node TEXT, connectors TEXT[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  UPDATE public.interop_leases SET node_id = NULL WHERE node_id = node AND connector_id = ANY (connectors)
$$;

-- For people: how many connectors each node holds.
CREATE FUNCTION interop_lease_counts() RETURNS TABLE (node_id TEXT, connectors BIGINT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT n.id, count(l.connector_id) FROM public.interop_nodes n LEFT JOIN public.interop_leases l ON l.node_id = n.id GROUP BY n.id
$$;

-- For who writes outcomes: fails where a lease is no longer the one that they were made under. A taker
-- waits for transactions that began before it took (see engine/node.c), so that this holds up to the commit.
CREATE FUNCTION interop_lease_check(connectors TEXT[], epochs BIGINT[]) RETURNS void
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  IF EXISTS (SELECT FROM unnest(connectors, epochs) AS u (connector, epoch)
              WHERE NOT EXISTS (SELECT FROM public.interop_leases l
                                 WHERE l.connector_id = u.connector AND l.epoch = u.epoch)) THEN
    RAISE EXCEPTION 'the lease of the connector has gone to another node' USING ERRCODE = 'IO001';
  END IF;
END $$;

-- For who stores messages, within the statement that does: of connectors that the node holds, how far
-- others have stored; of the others, that this writer has stored so far (and tells the holder).
-- The result's writer is empty for the latter.
CREATE FUNCTION interop_handover(connectors TEXT[], node TEXT, me TEXT, base BIGINT)
RETURNS TABLE (connector_id TEXT, writer TEXT, seq BIGINT)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
#variable_conflict use_column
DECLARE elsewhere TEXT[];
BEGIN
  elsewhere := ARRAY(SELECT u.id FROM unnest(connectors) AS u (id)
                      WHERE NOT EXISTS (SELECT FROM public.interop_leases l
                                         WHERE l.connector_id = u.id AND l.node_id = node) ORDER BY u.id);
  IF cardinality(elsewhere) < cardinality(connectors) THEN
    RETURN QUERY SELECT h.connector_id, h.writer, h.seq FROM public.interop_handovers h
                  WHERE h.connector_id = ANY (connectors) AND h.connector_id <> ALL (elsewhere) AND h.writer <> me;
  END IF;
  IF cardinality(elsewhere) > 0 THEN
    INSERT INTO public.interop_handovers AS h (connector_id, writer, tenant_id, seq)
    SELECT c.id, me, c.tenant_id, base FROM public.interop_connectors c WHERE c.id = ANY (elsewhere) ORDER BY c.id
    ON CONFLICT (connector_id, writer) DO UPDATE SET seq = excluded.seq;
    PERFORM pg_notify('interop_work', 'stored:' || c.tenant_id || ':' || c.id || '/' || me || '/' || base)
       FROM public.interop_connectors c WHERE c.id = ANY (elsewhere);
    RETURN QUERY SELECT e.id, ''::text, base FROM unnest(elsewhere) AS e (id);
  END IF;
END $$;

-- ---- a replay by the pack of then ---------------------------------------------------

ALTER TABLE hl7_messages ADD COLUMN replay_pack TEXT;    -- the pack that is to transform it; NULL: the connector's

-- ---- the relay: each node publishes its share of the aggregates ----------------------

CREATE TABLE interop_relay_slices (
  slice   INTEGER PRIMARY KEY,
  node_id TEXT,
  epoch   BIGINT NOT NULL DEFAULT 0
);
INSERT INTO interop_relay_slices (slice) SELECT generate_series(0, 15);
GRANT SELECT, UPDATE ON interop_relay_slices TO interop_system;

-- Takes and gives up slices as interop_lease_changes says of connectors; returns those that the node holds.
CREATE FUNCTION interop_relay_share(node TEXT) RETURNS SETOF INTEGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  UPDATE public.interop_relay_slices s
     SET node_id = CASE WHEN w.wanted THEN node END, epoch = s.epoch + 1
    FROM (SELECT o.slice, (SELECT n.id FROM public.interop_nodes n
                            ORDER BY hashtextextended(n.id || o.slice, 0) DESC, n.id LIMIT 1) = node AS wanted
            FROM public.interop_relay_slices o) w
   WHERE w.slice = s.slice
     AND ((s.node_id = node AND NOT w.wanted) OR
          (w.wanted AND s.node_id IS DISTINCT FROM node
           AND NOT EXISTS (SELECT FROM public.interop_nodes h WHERE h.id = s.node_id)));
  RETURN QUERY SELECT s.slice FROM public.interop_relay_slices s WHERE s.node_id = node ORDER BY 1;
END $$;

-- As interop_outbox_pending, of the aggregates of these slices.
CREATE FUNCTION interop_outbox_pending(most INTEGER, slices INTEGER[]) RETURNS TABLE (tenant_id TEXT, id TEXT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT e.tenant_id, e.id
    FROM public.outbox_events e
   WHERE NOT e.published
     AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
     AND (cardinality(slices) = 16 OR hashtext(e.aggregate_id) & 15 = ANY (slices))
     AND NOT EXISTS (SELECT FROM public.outbox_events p
                      WHERE p.aggregate_id = e.aggregate_id AND p.aggregate_seq < e.aggregate_seq
                        AND NOT p.published)
   ORDER BY e.created_at, e.id
   LIMIT most
$$;

GRANT CREATE ON SCHEMA public TO interop_system;
DO $$ DECLARE f REGPROCEDURE; BEGIN
  FOREACH f IN ARRAY ARRAY[
      'interop_node_join(text, text, text, text, integer, bigint, text, integer)', 'interop_node_beat(text, integer, integer)',
      'interop_node_leave(text)', 'interop_lease_changes(text)', 'interop_lease_take(text, text[])',
      'interop_lease_release(text, text[])', 'interop_lease_counts()', 'interop_lease_check(text[], bigint[])',
      'interop_handover(text[], text, text, bigint)', 'interop_relay_share(text)',
      'interop_outbox_pending(integer, integer[])']::REGPROCEDURE[] LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', f);
    EXECUTE format('ALTER FUNCTION %s OWNER TO interop_system', f);
  END LOOP;
END $$;
REVOKE CREATE ON SCHEMA public FROM interop_system;

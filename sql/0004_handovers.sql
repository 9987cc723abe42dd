-- 0004: of what several nodes keep of each other (0003), what nobody needs goes.

-- ---- handovers: what connections of processes that are gone have stored is known by now ----

ALTER TABLE interop_handovers ADD COLUMN stored_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp();

CREATE OR REPLACE FUNCTION interop_node_join(node TEXT, name TEXT, instance TEXT, host TEXT, pid INTEGER, pid_since BIGINT,
                                  release TEXT, lease_ms INTEGER) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  INSERT INTO public.interop_nodes (id, name, instance, host, pid, pid_since, release, expires_at)
  VALUES (node, name, instance, host, pid, pid_since, release, clock_timestamp() + lease_ms * interval '1 ms')
  ON CONFLICT (id) DO UPDATE SET expires_at = excluded.expires_at;
  DELETE FROM public.interop_handovers h
   WHERE h.stored_at < clock_timestamp() - interval '10 minutes'
     AND NOT EXISTS (SELECT FROM public.interop_nodes n WHERE n.instance = split_part(h.writer, '.', 1));
$$;

CREATE OR REPLACE FUNCTION interop_handover(connectors TEXT[], node TEXT, me TEXT, base BIGINT)
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
    ON CONFLICT (connector_id, writer) DO UPDATE SET seq = excluded.seq, stored_at = excluded.stored_at;
    PERFORM pg_notify('interop_work', 'stored:' || c.tenant_id || ':' || c.id || '/' || me || '/' || base)
       FROM public.interop_connectors c WHERE c.id = ANY (elsewhere);
    RETURN QUERY SELECT e.id, ''::text, base FROM unnest(elsewhere) AS e (id);
  END IF;
END $$;

-- ---- never read ---------------------------------------------------------------------

DROP INDEX idx_interop_leases_node;

CREATE OR REPLACE FUNCTION interop_relay_share(node TEXT) RETURNS SETOF INTEGER
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
BEGIN
  UPDATE public.interop_relay_slices s
     SET node_id = CASE WHEN w.wanted THEN node END
    FROM (SELECT o.slice, (SELECT n.id FROM public.interop_nodes n
                            ORDER BY hashtextextended(n.id || o.slice, 0) DESC, n.id LIMIT 1) = node AS wanted
            FROM public.interop_relay_slices o) w
   WHERE w.slice = s.slice
     AND ((s.node_id = node AND NOT w.wanted) OR
          (w.wanted AND s.node_id IS DISTINCT FROM node
           AND NOT EXISTS (SELECT FROM public.interop_nodes h WHERE h.id = s.node_id)));
  RETURN QUERY SELECT s.slice FROM public.interop_relay_slices s WHERE s.node_id = node ORDER BY 1;
END $$;

ALTER TABLE interop_relay_slices DROP COLUMN epoch;

-- ---- one definition of what may be published: the function of before is all slices ----

CREATE OR REPLACE FUNCTION interop_outbox_pending(most INTEGER) RETURNS TABLE (tenant_id TEXT, id TEXT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT * FROM public.interop_outbox_pending(most, ARRAY(SELECT slice FROM public.interop_relay_slices))
$$;

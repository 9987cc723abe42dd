-- 0005: nodes divide the connectors evenly.

-- What a node is to take (free) and what it is to give up. As many each as can be: where the count does not
-- divide, those that have most of their share have one more, so that nothing moves in vain (what a node has
-- beyond the larger share is on its way, and says nothing). Connectors that are worked on are divided by
-- themselves. Which it takes and gives up is by hashing; if two reach for the same, one gets it
-- (interop_lease_take) and the other looks again.
CREATE OR REPLACE FUNCTION interop_lease_changes(node TEXT) RETURNS TABLE (connector_id TEXT, take BOOLEAN)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  WITH held AS (
    SELECT c.id, c.status IN ('active', 'paused') AS works, h.id AS holder, hashtextextended(node || c.id, 0) AS liking
      FROM public.interop_connectors c
      LEFT JOIN public.interop_leases l ON l.connector_id = c.id
      LEFT JOIN public.interop_nodes h ON h.id = l.node_id),
  kinds AS (
    SELECT w.works, (SELECT count(*) FROM held h WHERE h.works = w.works) AS connectors,
           (SELECT count(*) FROM public.interop_nodes) AS nodes
      FROM (VALUES (true), (false)) AS w (works)),
  load AS (
    SELECT n.id, k.works, k.connectors, k.nodes, count(h.id) AS has,
           row_number() OVER (PARTITION BY k.works
                              ORDER BY least(count(h.id), (k.connectors + k.nodes - 1) / k.nodes) DESC, n.id) - 1 AS place
      FROM public.interop_nodes n CROSS JOIN kinds k
      LEFT JOIN held h ON h.holder = n.id AND h.works = k.works
     GROUP BY n.id, k.works, k.connectors, k.nodes),
  quota AS (
    SELECT l.works, l.has, (l.connectors - l.place + l.nodes - 1) / l.nodes AS wanted    -- rounded up for the first ones
      FROM load l WHERE l.id = node),
  ranked AS (
    SELECT h.id, h.works, h.holder IS NULL AS free,
           row_number() OVER (PARTITION BY h.works, h.holder IS NULL
                              ORDER BY CASE WHEN h.holder IS NULL THEN ~h.liking ELSE h.liking END, h.id) AS place
      FROM held h WHERE h.holder IS NULL OR h.holder = node)
  SELECT r.id, r.free
    FROM ranked r JOIN quota q ON q.works = r.works
   WHERE r.place <= CASE WHEN r.free THEN q.wanted - q.has ELSE q.has - q.wanted END
   ORDER BY r.id
$$;

-- 0007: a delivery knows which of its message's resources it carries, so that what waits goes where it was routed
-- when it was made, whatever the rules say by then.

ALTER TABLE hl7_deliveries
  ADD COLUMN resources INTEGER[],                     -- which of the script's, from 0; NULL: all, of an only delivery
  ADD COLUMN shape     BIGINT;                        -- a hash of their types and of the services that the script named;
                                                      -- NULL: made by an earlier release, both are not known

-- As interop_transformed (0002), which is what the release before this one calls.
CREATE FUNCTION interop_message_transformed(
  tenants TEXT[], ids TEXT[], replays INTEGER[], before INTEGER[], parsed TEXT[], statuses TEXT[], digests TEXT[],
  errors TEXT[], attempts INTEGER[], next TIMESTAMPTZ[], events TEXT[], event_counts INTEGER[],
  d_messages TEXT[], d_ids TEXT[], d_ordinals INTEGER[], d_urls TEXT[], d_rules TEXT[], d_needs TEXT[],
  d_entries INTEGER[], d_resources TEXT[], d_shapes BIGINT[],
  e_messages TEXT[], e_ids TEXT[], e_types TEXT[], e_data TEXT[], e_back INTEGER[]) RETURNS SETOF TEXT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN QUERY
  WITH ended AS (
    UPDATE public.hl7_messages m
       SET parsed_data = u.parsed::jsonb, processing_status = u.status, pack_digest = u.digest,
           error_detail = u.error, attempt_count = u.attempts, next_attempt_at = u.next,
           transformed_at = CASE WHEN u.status IN ('processing', 'processed') THEN now() END,
           processed_at = CASE WHEN u.status IN ('processed', 'dead_lettered') THEN now() END,
           event_seq = m.event_seq + u.event_count + 1
      FROM unnest(tenants, ids, replays, before, parsed, statuses, digests, errors, attempts, next, events, event_counts)
             AS u (tenant, id, replay, before, parsed, status, digest, error, attempts, next, event, event_count)
     WHERE m.id = u.id AND m.tenant_id = u.tenant AND m.replay_count = u.replay AND m.attempt_count = u.before
       AND m.transformed_at IS NULL
    RETURNING m.tenant_id, m.id, m.connector_id, m.message_type, m.processing_status, m.event_seq,
              m.attempt_count, u.event),
  told AS (
    INSERT INTO public.outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)
    SELECT e.tenant_id, e.event, public.interop_subject(e.tenant_id, 'message.' || e.processing_status),
           'message.' || e.processing_status,
           public.interop_event(e.event, 'message.' || e.processing_status, e.id,
             jsonb_build_object('connectorId', e.connector_id, 'messageType', e.message_type,
                                'status', e.processing_status, 'attemptCount', e.attempt_count)),
           e.id, e.event_seq, clock_timestamp()
      FROM ended e)
  SELECT e.id FROM ended e;

  IF array_length(d_ids, 1) > 0 THEN
    INSERT INTO public.hl7_deliveries (tenant_id, id, message_id, connector_id, ordinal, replay, seq, service_url,
                                       rule_ids, lane_keys, needs, entry_count, resources, shape)
    SELECT m.tenant_id, u.id, m.id, m.connector_id, u.ordinal, m.replay_count, batch.base + u.place, u.url,
           u.rules::text[], m.lane_keys, u.needs::integer[], u.entries,
           u.resources::integer[], u.shape
      FROM (SELECT nextval('public.hl7_delivery_batch_seq') * 1048576 AS base) batch,
           unnest(d_messages, d_ids, d_ordinals, d_urls, d_rules, d_needs, d_entries, d_resources, d_shapes) WITH ORDINALITY
             AS u (message, id, ordinal, url, rules, needs, entries, resources, shape, place)
      JOIN public.hl7_messages m ON m.id = u.message AND m.transformed_at = now();
  END IF;

  IF array_length(e_ids, 1) > 0 THEN
    INSERT INTO public.outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)
    SELECT m.tenant_id, u.id, public.interop_subject(m.tenant_id, 'script.' || u.type), 'script.' || u.type,
           public.interop_event(u.id, 'script.' || u.type, m.id,
             jsonb_build_object('connectorId', m.connector_id, 'messageType', m.message_type, 'event', u.data::jsonb)),
           m.id, m.event_seq - u.back, clock_timestamp()
      FROM unnest(e_messages, e_ids, e_types, e_data, e_back) AS u (message, id, type, data, back)
      JOIN public.hl7_messages m ON m.id = u.message AND m.transformed_at = now();
  END IF;
END $$;

CREATE OR REPLACE FUNCTION interop_transformed(
  tenants TEXT[], ids TEXT[], replays INTEGER[], before INTEGER[], parsed TEXT[], statuses TEXT[], digests TEXT[],
  errors TEXT[], attempts INTEGER[], next TIMESTAMPTZ[], events TEXT[], event_counts INTEGER[],
  d_messages TEXT[], d_ids TEXT[], d_ordinals INTEGER[], d_urls TEXT[], d_rules TEXT[], d_needs TEXT[],
  d_entries INTEGER[],
  e_messages TEXT[], e_ids TEXT[], e_types TEXT[], e_data TEXT[], e_back INTEGER[]) RETURNS SETOF TEXT
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT public.interop_message_transformed(tenants, ids, replays, before, parsed, statuses, digests, errors, attempts, next,
           events, event_counts, d_messages, d_ids, d_ordinals, d_urls, d_rules, d_needs, d_entries, NULL, NULL,
           e_messages, e_ids, e_types, e_data, e_back)
$$;

REVOKE ALL ON FUNCTION interop_message_transformed FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO interop_system;
ALTER FUNCTION interop_message_transformed OWNER TO interop_system;
REVOKE CREATE ON SCHEMA public FROM interop_system;

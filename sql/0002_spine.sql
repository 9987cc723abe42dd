-- What the engine adds to the commissioned model: order, exact bytes, deliveries,
-- quarantine, packs, services, and isolation of tenants on every table of theirs.
-- Runs on an empty database and on one that already holds data.

-- The role that owns the functions whose work spans tenants. It cannot log in;
-- its policies below are the only way round a tenant's own (promise P7).
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'interop_system') THEN
    CREATE ROLE interop_system NOLOGIN;
  END IF;
  IF NOT pg_has_role(current_user, 'interop_system', 'MEMBER') THEN
    EXECUTE format('GRANT interop_system TO %I', current_user);
  END IF;
END $$;

-- ---- packs -------------------------------------------------------------------

-- Content-addressed: `digest` is the SHA-256 of `archive` (see script/pack.h).
CREATE TABLE script_packs (
  tenant_id  TEXT NOT NULL CHECK (tenant_id <> ''),
  digest     TEXT NOT NULL CHECK (digest ~ '^[0-9a-f]{64}$'),
  name       TEXT NOT NULL,
  version    TEXT NOT NULL,
  archive    TEXT NOT NULL,
  created_at TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  PRIMARY KEY (tenant_id, digest)
);

-- ---- connectors --------------------------------------------------------------

-- Names become unique by tenant: a later one of the same name gets a number that is free.
DO $$ DECLARE c RECORD; n INTEGER; BEGIN
  FOR c IN SELECT id, tenant_id, name FROM
           (SELECT *, row_number() OVER (PARTITION BY tenant_id, name ORDER BY created_at, id) AS nth
              FROM interop_connectors) d
            WHERE nth > 1 ORDER BY created_at, id LOOP
    n := 2;
    WHILE EXISTS (SELECT FROM interop_connectors o
                   WHERE o.tenant_id = c.tenant_id AND o.name = c.name || '-' || n) LOOP
      n := n + 1;
    END LOOP;
    UPDATE interop_connectors SET name = c.name || '-' || n WHERE id = c.id;
  END LOOP;
END $$;

ALTER TABLE interop_connectors
  ADD COLUMN pack_digest TEXT,                        -- the active pack
  ADD COLUMN settings    JSONB NOT NULL DEFAULT '{}', -- the keys of engine/settings.h
  ADD COLUMN event_seq   INTEGER NOT NULL DEFAULT 0,  -- of the last event about it
  ADD CONSTRAINT connectors_tenant_id_check CHECK (tenant_id <> ''),
  ADD CONSTRAINT connectors_protocol_check  CHECK (protocol IN ('mllp', 'fhir-rest', 'sftp', 'api-polling')),
  ADD CONSTRAINT connectors_direction_check CHECK (direction IN ('inbound', 'outbound', 'bidirectional')),
  ADD CONSTRAINT connectors_auth_mode_check CHECK (auth_mode IN ('none', 'client-cert', 'shared-secret', 'oauth2')),
  ADD CONSTRAINT connectors_status_check    CHECK (status IN ('configured', 'active', 'paused', 'inactive')),
  ADD CONSTRAINT connectors_port_check      CHECK (port BETWEEN 0 AND 65535),
  ADD CONSTRAINT connectors_name_key        UNIQUE (tenant_id, name),
  ADD CONSTRAINT connectors_tenant_key      UNIQUE (tenant_id, id),
  ADD CONSTRAINT connectors_pack_fkey       FOREIGN KEY (tenant_id, pack_digest)
                                            REFERENCES script_packs (tenant_id, digest);

-- ---- messages ----------------------------------------------------------------

-- `seq` orders the messages of a connector: the batch's number times 4096 plus the
-- place of arrival in the batch. Drawn in the transaction that stores them.
CREATE SEQUENCE hl7_message_batch_seq;

ALTER TABLE hl7_messages
  ADD COLUMN seq             BIGINT,
  ADD COLUMN raw_bytes       BYTEA,                   -- the exact bytes, where raw_payload is only their decoding
  ADD COLUMN content_hash    BYTEA,                   -- SHA-256 without MSH-7 and MSH-8
  ADD COLUMN sent_control_id TEXT,                    -- MSH-10 as sent, where it was stored with ~2, ~3, …
  ADD COLUMN lane_keys       TEXT[] NOT NULL DEFAULT '{}',
  ADD COLUMN pack_digest     TEXT,                    -- the pack that transformed it
  ADD COLUMN transformed_at  TIMESTAMPTZ,             -- NULL: not yet, or to be done again
  ADD COLUMN next_attempt_at TIMESTAMPTZ,
  ADD COLUMN replay_count    INTEGER NOT NULL DEFAULT 0,
  ADD COLUMN source_message_id TEXT,                  -- outbound: the message it was made from
  ADD COLUMN event_seq       INTEGER NOT NULL DEFAULT 1,
  ADD CONSTRAINT hl7_tenant_id_check CHECK (tenant_id <> ''),
  ADD CONSTRAINT hl7_direction_check CHECK (direction IN ('inbound', 'outbound')),
  ADD CONSTRAINT hl7_status_check    CHECK (processing_status IN
                 ('pending', 'processing', 'processed', 'failed', 'dead_lettered'));

-- The bytes that content_hash covers: all but the content of MSH-7 and MSH-8.
CREATE FUNCTION pg_temp.stable_bytes(raw TEXT) RETURNS BYTEA LANGUAGE plpgsql AS $$
DECLARE
  msh    TEXT := substring(raw FROM '^[^\r\n]*');
  fields TEXT[] := string_to_array(msh, substr(msh, 4, 1));
BEGIN
  IF fields[7] IS NOT NULL THEN fields[7] := ''; END IF;
  IF fields[8] IS NOT NULL THEN fields[8] := ''; END IF;
  RETURN convert_to(array_to_string(fields, substr(msh, 4, 1)) || substr(raw, length(msh) + 1), 'UTF8');
END $$;

UPDATE hl7_messages m
   SET seq = o.seq, content_hash = sha256(pg_temp.stable_bytes(m.raw_payload))
  FROM (SELECT id, nextval('hl7_message_batch_seq') * 4096 AS seq
          FROM (SELECT id FROM hl7_messages ORDER BY received_at, id) a) o
 WHERE o.id = m.id;

ALTER TABLE hl7_messages
  ALTER COLUMN seq SET NOT NULL,
  ALTER COLUMN seq SET DEFAULT nextval('hl7_message_batch_seq') * 4096,
  ALTER COLUMN content_hash SET NOT NULL;

-- A missing sending application is one sender too (promise P2). Rows that the old
-- rule let in twice get the suffix that reused ids have.
DO $$ DECLARE m RECORD; n INTEGER; BEGIN
  FOR m IN SELECT id, connector_id, message_control_id FROM
           (SELECT *, row_number() OVER (PARTITION BY connector_id, message_control_id ORDER BY seq) AS nth
              FROM hl7_messages WHERE sending_app IS NULL) d
            WHERE nth > 1 ORDER BY seq LOOP
    n := 2;
    WHILE EXISTS (SELECT FROM hl7_messages o
                   WHERE o.connector_id = m.connector_id AND o.sending_app IS NULL
                     AND o.message_control_id = m.message_control_id || '~' || n) LOOP
      n := n + 1;
    END LOOP;
    UPDATE hl7_messages
       SET sent_control_id = m.message_control_id, message_control_id = m.message_control_id || '~' || n
     WHERE id = m.id;
  END LOOP;
END $$;
ALTER TABLE hl7_messages
  DROP CONSTRAINT hl7_messages_connector_id_message_control_id_sending_app_key,
  ADD  CONSTRAINT hl7_messages_connector_id_message_control_id_sending_app_key
       UNIQUE NULLS NOT DISTINCT (connector_id, message_control_id, sending_app);

-- Foreign keys carry the tenant, so that no row can point across (promise P7).
ALTER TABLE hl7_messages
  ADD  CONSTRAINT hl7_messages_tenant_key UNIQUE (tenant_id, id),
  DROP CONSTRAINT hl7_messages_connector_id_fkey,
  ADD  CONSTRAINT hl7_messages_connector_id_fkey
       FOREIGN KEY (tenant_id, connector_id) REFERENCES interop_connectors (tenant_id, id);

-- What the lanes still have to do, in its order.
CREATE INDEX idx_hl7_open ON hl7_messages (connector_id, seq)
  WHERE processing_status IN ('pending', 'processing', 'failed');

-- raw_payload is immutable, whoever asks (promise P6). The trigger runs only for
-- statements that name one of these columns.
CREATE FUNCTION hl7_message_immutable() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the stored bytes of a message are immutable'
    USING ERRCODE = 'integrity_constraint_violation', HINT = 'store a new message instead';
END $$;
CREATE TRIGGER hl7_message_immutable
  BEFORE UPDATE OF raw_payload, raw_bytes, content_hash, tenant_id, connector_id ON hl7_messages
  FOR EACH ROW EXECUTE FUNCTION hl7_message_immutable();

DO $$ BEGIN                                           -- a build without lz4 keeps the default
  EXECUTE 'ALTER TABLE hl7_messages ALTER COLUMN raw_payload SET COMPRESSION lz4, '
          'ALTER COLUMN parsed_data SET COMPRESSION lz4';
EXCEPTION WHEN feature_not_supported THEN NULL;
END $$;

-- ---- deliveries: one for each target of a message ------------------------------

CREATE SEQUENCE hl7_delivery_batch_seq;

CREATE TABLE hl7_deliveries (
  id              TEXT NOT NULL,                      -- DLV_ prefixed ULID
  tenant_id       TEXT NOT NULL CHECK (tenant_id <> ''),
  message_id      TEXT NOT NULL,
  connector_id    TEXT NOT NULL,
  ordinal         INTEGER NOT NULL,                   -- among the message's deliveries, from 0
  replay          INTEGER NOT NULL DEFAULT 0,         -- the message's replay_count when it was made
  seq             BIGINT NOT NULL,                    -- orders the deliveries of a connector
  service_url     TEXT NOT NULL,
  rule_ids        TEXT[] NOT NULL DEFAULT '{}',       -- why it goes there
  lane_keys       TEXT[] NOT NULL DEFAULT '{}',
  needs           INTEGER[] NOT NULL DEFAULT '{}',    -- ordinals whose answers it refers to
  entry_count     INTEGER NOT NULL,
  status          TEXT NOT NULL DEFAULT 'pending'
                  CHECK (status IN ('pending', 'failed', 'delivered', 'dead_lettered', 'superseded')),
  attempt_count   INTEGER NOT NULL DEFAULT 0,
  next_attempt_at TIMESTAMPTZ,
  http_status     INTEGER,
  error_detail    TEXT,
  created_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  ended_at        TIMESTAMPTZ,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (message_id, replay, ordinal),
  FOREIGN KEY (tenant_id, message_id) REFERENCES hl7_messages (tenant_id, id)
);
CREATE INDEX idx_hl7_deliveries_open ON hl7_deliveries (connector_id, seq)
  WHERE status IN ('pending', 'failed');

-- ---- resource links ------------------------------------------------------------

ALTER TABLE hl7_resource_links
  ADD COLUMN tenant_id   TEXT CHECK (tenant_id <> ''),
  ADD COLUMN delivery_id TEXT,                        -- its links are written once, with its end
  ADD COLUMN entry       INTEGER,                     -- of the delivery's Bundle, from 0
  ADD CONSTRAINT links_action_check CHECK (action IN ('created', 'updated'));
UPDATE hl7_resource_links l SET tenant_id = m.tenant_id FROM hl7_messages m WHERE m.id = l.message_id;
ALTER TABLE hl7_resource_links
  ALTER COLUMN tenant_id SET NOT NULL,
  DROP CONSTRAINT hl7_resource_links_message_id_fkey,
  ADD  CONSTRAINT hl7_resource_links_message_id_fkey
       FOREIGN KEY (tenant_id, message_id) REFERENCES hl7_messages (tenant_id, id);

-- ---- quarantine: what could not be stored as a message (promise P5) -------------

CREATE TABLE hl7_quarantine (
  id           TEXT PRIMARY KEY,                      -- QTN_ prefixed ULID
  tenant_id    TEXT NOT NULL CHECK (tenant_id <> ''),
  connector_id TEXT NOT NULL,
  reason       TEXT NOT NULL,                         -- a word, such as 'bad-framing'
  detail       TEXT NOT NULL,                         -- for a person, without content
  digest       BYTEA NOT NULL,                        -- SHA-256 of the bytes
  bytes        BYTEA NOT NULL,
  byte_count   INTEGER NOT NULL,                      -- what was received; `bytes` may be cut to a cap
  peer         TEXT,
  count        INTEGER NOT NULL DEFAULT 1,
  first_at     TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  last_at      TIMESTAMPTZ NOT NULL DEFAULT NOW(),
  released_at  TIMESTAMPTZ,
  message_id   TEXT,                                  -- what it became when it was released
  UNIQUE (connector_id, reason, digest),
  FOREIGN KEY (tenant_id, connector_id) REFERENCES interop_connectors (tenant_id, id)
);
CREATE INDEX idx_hl7_quarantine ON hl7_quarantine (tenant_id, connector_id, last_at DESC);

-- ---- services -------------------------------------------------------------------

-- What is known of a FHIR service. tenant_id NULL: shared by all tenants.
CREATE TABLE fhir_services (
  id           TEXT PRIMARY KEY,                      -- SVC_ prefixed ULID
  tenant_id    TEXT CHECK (tenant_id <> ''),
  name         TEXT NOT NULL,
  url          TEXT NOT NULL,                         -- the base, without a slash at its end
  transactions BOOLEAN NOT NULL DEFAULT TRUE,         -- takes transaction Bundles
  concurrency  INTEGER NOT NULL DEFAULT 16 CHECK (concurrency BETWEEN 1 AND 1024),
  required     BOOLEAN NOT NULL DEFAULT FALSE,
  ca_file      TEXT,                                  -- PEM; NULL: the system's authorities
  created_at   TIMESTAMPTZ NOT NULL DEFAULT NOW()
);
CREATE UNIQUE INDEX idx_fhir_services_url  ON fhir_services (COALESCE(tenant_id, ''), url);
CREATE UNIQUE INDEX idx_fhir_services_name ON fhir_services (COALESCE(tenant_id, ''), name);

-- ---- export ---------------------------------------------------------------------

ALTER TABLE bulk_export_jobs
  ADD CONSTRAINT jobs_tenant_id_check CHECK (tenant_id <> ''),
  ADD CONSTRAINT jobs_status_check CHECK (status IN ('accepted', 'in-progress', 'complete', 'failed')),
  ADD CONSTRAINT jobs_tenant_key UNIQUE (tenant_id, id);
ALTER TABLE bulk_export_files ADD COLUMN tenant_id TEXT CHECK (tenant_id <> '');
UPDATE bulk_export_files f SET tenant_id = j.tenant_id FROM bulk_export_jobs j WHERE j.id = f.job_id;
ALTER TABLE bulk_export_files
  ALTER COLUMN tenant_id SET NOT NULL,
  DROP CONSTRAINT bulk_export_files_job_id_fkey,
  ADD  CONSTRAINT bulk_export_files_job_id_fkey
       FOREIGN KEY (tenant_id, job_id) REFERENCES bulk_export_jobs (tenant_id, id);

-- ---- outbox ---------------------------------------------------------------------

-- aggregate_seq is drawn under the aggregate's row lock. `xid` lets readers stop
-- before transactions that are still open, so that a late commit is not skipped.
ALTER TABLE outbox_events
  ADD COLUMN aggregate_id  TEXT,
  ADD COLUMN aggregate_seq INTEGER NOT NULL DEFAULT 1,
  ADD COLUMN xid           XID8 NOT NULL DEFAULT pg_current_xact_id(),
  ADD CONSTRAINT outbox_tenant_id_check CHECK (tenant_id <> '');
UPDATE outbox_events SET aggregate_id = id;
ALTER TABLE outbox_events ALTER COLUMN aggregate_id SET NOT NULL;
CREATE UNIQUE INDEX idx_interop_outbox_aggregate ON outbox_events (aggregate_id, aggregate_seq);
CREATE INDEX idx_interop_outbox_xid ON outbox_events (xid);

-- A tenant as one token of a subject: what NATS has no place for is percent-encoded.
CREATE FUNCTION interop_token(tenant TEXT) RETURNS TEXT LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT string_agg(CASE WHEN c ~ '^[A-Za-z0-9_-]$' THEN c ELSE
           upper(regexp_replace(encode(convert_to(c, 'UTF8'), 'hex'), '(..)', '%\1', 'g')) END, '' ORDER BY n)
    FROM regexp_split_to_table(tenant, '') WITH ORDINALITY AS t (c, n)
$$;

-- interop.{tenant}.{entity}.{event}. This and interop_event are simple enough for the
-- planner to put in place of their calls, which happens for every message.
CREATE FUNCTION interop_subject(tenant TEXT, entity_event TEXT) RETURNS TEXT
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT 'interop.' || CASE WHEN tenant ~ '^[A-Za-z0-9_-]+$' THEN tenant ELSE interop_token(tenant) END
         || '.' || entity_event
$$;

-- A CloudEvent (1.0, JSON). `data` never holds PHI (promise P9).
CREATE FUNCTION interop_event(event_id TEXT, entity_event TEXT, about TEXT, data JSONB) RETURNS JSONB
LANGUAGE sql VOLATILE AS $$
  SELECT jsonb_build_object('specversion', '1.0', 'id', event_id, 'source', 'interop',
    'type', 'interop.' || entity_event, 'subject', about, 'time', to_jsonb(clock_timestamp()),
    'datacontenttype', 'application/json', 'data', data)
$$;

-- ---- tenants see their own rows only ----------------------------------------------

CREATE POLICY links_tenant      ON hl7_resource_links USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY deliveries_tenant ON hl7_deliveries     USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY quarantine_tenant ON hl7_quarantine     USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY packs_tenant      ON script_packs       USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY jobs_tenant       ON bulk_export_jobs   USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY files_tenant      ON bulk_export_files  USING (tenant_id = current_setting('app.current_tenant_id'));
CREATE POLICY outbox_tenant     ON outbox_events      USING (tenant_id = current_setting('app.current_tenant_id'));
-- A shared service belongs to the platform: every tenant sees it, and only work
-- that is not done for a tenant changes it. A tenant's own is that tenant's alone.
CREATE POLICY services_see    ON fhir_services FOR SELECT
  USING (tenant_id IS NULL OR tenant_id = current_setting('app.current_tenant_id', TRUE));
CREATE POLICY services_tenant ON fhir_services
  USING (COALESCE(tenant_id, '') = COALESCE(current_setting('app.current_tenant_id', TRUE), ''));

DO $$ DECLARE t TEXT; BEGIN
  FOREACH t IN ARRAY ARRAY['interop_connectors', 'hl7_messages', 'hl7_resource_links', 'hl7_deliveries',
                           'hl7_quarantine', 'script_packs', 'fhir_services', 'bulk_export_jobs',
                           'bulk_export_files', 'outbox_events'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
  END LOOP;
END $$;

-- ---- work that spans tenants: ids only ---------------------------------------------

CREATE POLICY connectors_system ON interop_connectors FOR SELECT TO interop_system USING (TRUE);
CREATE POLICY outbox_system_see ON outbox_events      FOR SELECT TO interop_system USING (TRUE);
CREATE POLICY outbox_system_set ON outbox_events      FOR UPDATE TO interop_system USING (TRUE);
GRANT SELECT (id, tenant_id, host, port, settings, status, direction, protocol) ON interop_connectors TO interop_system;
GRANT SELECT (id, tenant_id, aggregate_id, aggregate_seq, published, created_at, xid) ON outbox_events TO interop_system;
GRANT UPDATE (published) ON outbox_events TO interop_system;

CREATE FUNCTION interop_connector_ids() RETURNS TABLE (tenant_id TEXT, id TEXT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT c.tenant_id, c.id FROM public.interop_connectors c ORDER BY c.id
$$;

-- Connectors that listen, or are to listen, where this one would.
CREATE FUNCTION interop_port_users(address TEXT, wanted INTEGER) RETURNS TABLE (tenant_id TEXT, id TEXT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT c.tenant_id, c.id
    FROM public.interop_connectors c,
         LATERAL (SELECT COALESCE(NULLIF(c.host, ''), c.settings ->> 'address', '127.0.0.1') AS host) l
   WHERE c.port = wanted AND wanted <> 0 AND c.status IN ('active', 'paused')
     AND c.direction IN ('inbound', 'bidirectional') AND c.protocol = 'mllp'
     AND (l.host = address OR l.host IN ('0.0.0.0', '::', '*') OR address IN ('0.0.0.0', '::', '*'))
   ORDER BY c.id
$$;

-- Events that may be published, oldest first: committed before every transaction
-- that is still open, and only the next one of each aggregate. Neither created_at
-- (when the transaction began) nor xid orders the events of an aggregate, since
-- who waited for its row lock may be the older transaction; aggregate_seq does.
CREATE FUNCTION interop_outbox_pending(most INTEGER) RETURNS TABLE (tenant_id TEXT, id TEXT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  SELECT e.tenant_id, e.id
    FROM public.outbox_events e
   WHERE NOT e.published
     AND e.xid < pg_snapshot_xmin(pg_current_snapshot())
     AND NOT EXISTS (SELECT FROM public.outbox_events p
                      WHERE p.aggregate_id = e.aggregate_id AND p.aggregate_seq < e.aggregate_seq
                        AND NOT p.published)
   ORDER BY e.created_at, e.id
   LIMIT most
$$;

CREATE FUNCTION interop_outbox_published(ids TEXT[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public AS $$
  UPDATE public.outbox_events SET published = TRUE WHERE id = ANY (ids)
$$;

-- Who is given a function must be able to create in its schema, for that moment.
GRANT USAGE, CREATE ON SCHEMA public TO interop_system;
ALTER FUNCTION interop_connector_ids()            OWNER TO interop_system;
ALTER FUNCTION interop_port_users(TEXT, INTEGER)  OWNER TO interop_system;
ALTER FUNCTION interop_outbox_pending(INTEGER)    OWNER TO interop_system;
ALTER FUNCTION interop_outbox_published(TEXT[])   OWNER TO interop_system;
REVOKE CREATE ON SCHEMA public FROM interop_system;
REVOKE ALL ON FUNCTION interop_connector_ids(), interop_port_users(TEXT, INTEGER),
                       interop_outbox_pending(INTEGER), interop_outbox_published(TEXT[]) FROM PUBLIC;

-- ---- outcomes: what became of messages and of their deliveries ------------------------

-- They span tenants, since one batch holds outcomes of many; each row names its
-- tenant, and changes nothing where that is not the message's. No condition is one that
-- another index could serve (a tenant, an open status), so that the only plan is by key,
-- whatever the statistics say: a fresh database has none. They give out ids only.
CREATE POLICY messages_system_see   ON hl7_messages       FOR SELECT TO interop_system USING (TRUE);
CREATE POLICY messages_system_set   ON hl7_messages       FOR UPDATE TO interop_system USING (TRUE);
CREATE POLICY deliveries_system     ON hl7_deliveries     FOR ALL    TO interop_system USING (TRUE);
CREATE POLICY links_system_see      ON hl7_resource_links FOR SELECT TO interop_system USING (TRUE);
CREATE POLICY links_system_add      ON hl7_resource_links FOR INSERT TO interop_system WITH CHECK (TRUE);
CREATE POLICY outbox_system_add     ON outbox_events      FOR INSERT TO interop_system WITH CHECK (TRUE);
GRANT SELECT (tenant_id, id, connector_id, message_type, processing_status, attempt_count, replay_count, event_seq,
              transformed_at, lane_keys) ON hl7_messages TO interop_system;
GRANT UPDATE (parsed_data, processing_status, pack_digest, error_detail, attempt_count, next_attempt_at,
              transformed_at, processed_at, event_seq) ON hl7_messages TO interop_system;
GRANT SELECT, INSERT, UPDATE ON hl7_deliveries TO interop_system;
GRANT SELECT, INSERT ON hl7_resource_links TO interop_system;
GRANT INSERT ON outbox_events TO interop_system;
GRANT USAGE ON SEQUENCE hl7_delivery_batch_seq TO interop_system;

-- Messages that were transformed, or failed to be; returns which of them. A message that was replayed or
-- transformed meanwhile is left alone, also by what the second and third statement add:
-- `transformed_at = now()` holds for rows that this transaction changed.
CREATE FUNCTION interop_transformed(
  tenants TEXT[], ids TEXT[], replays INTEGER[], before INTEGER[], parsed TEXT[], statuses TEXT[], digests TEXT[],
  errors TEXT[], attempts INTEGER[], next TIMESTAMPTZ[], events TEXT[], event_counts INTEGER[],
  d_messages TEXT[], d_ids TEXT[], d_ordinals INTEGER[], d_urls TEXT[], d_rules TEXT[], d_needs TEXT[],
  d_entries INTEGER[],
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
                                       rule_ids, lane_keys, needs, entry_count)
    SELECT m.tenant_id, u.id, m.id, m.connector_id, u.ordinal, m.replay_count, batch.base + u.place, u.url,
           u.rules::text[], m.lane_keys, u.needs::integer[], u.entries
      FROM (SELECT nextval('public.hl7_delivery_batch_seq') * 1048576 AS base) batch,
           unnest(d_messages, d_ids, d_ordinals, d_urls, d_rules, d_needs, d_entries) WITH ORDINALITY
             AS u (message, id, ordinal, url, rules, needs, entries, place)
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

-- Deliveries that ended or failed, with what they became, and then the status of their
-- messages, which follows from all deliveries of each.
CREATE FUNCTION interop_delivered(
  tenants TEXT[], ids TEXT[], statuses TEXT[], attempts INTEGER[], next TIMESTAMPTZ[], http INTEGER[], errors TEXT[],
  l_ids TEXT[], l_types TEXT[], l_resources TEXT[], l_actions TEXT[],
  m_tenants TEXT[], m_ids TEXT[], m_replays INTEGER[], m_events TEXT[], m_became TEXT[]) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  -- The links of those that this call ends: each comes with its arrays, as text.
  WITH ended AS (
    UPDATE public.hl7_deliveries d
       SET status = u.status, attempt_count = u.attempts, next_attempt_at = u.next, http_status = NULLIF(u.http, 0),
           error_detail = u.error, ended_at = CASE WHEN u.status IN ('delivered', 'dead_lettered') THEN now() END
      FROM unnest(tenants, ids, statuses, attempts, next, http, errors, l_ids, l_types, l_resources, l_actions)
             AS u (tenant, id, status, attempts, next, http, error, links, types, resources, actions)
     WHERE d.tenant_id = u.tenant AND d.id = u.id AND d.ended_at IS NULL
    RETURNING d.tenant_id, d.id, d.message_id, u.links, u.types, u.resources, u.actions)
  INSERT INTO public.hl7_resource_links (tenant_id, id, message_id, delivery_id, entry, resource_type, resource_id, action)
  SELECT e.tenant_id, l.id, e.message_id, e.id, l.place - 1, l.type, l.resource, l.action
    FROM ended e, unnest(e.links::text[], e.types::text[], e.resources::text[], e.actions::text[])
           WITH ORDINALITY AS l (id, type, resource, action, place);

  WITH state AS (
    SELECT u.tenant, u.message, u.replay, u.event, u.became,
           CASE WHEN bool_or(d.status = 'failed') THEN 'failed' WHEN bool_or(d.status = 'pending') THEN 'processing'
                WHEN bool_or(d.status = 'dead_lettered') THEN 'dead_lettered' ELSE 'processed' END AS status,
           max(d.attempt_count) AS attempts, min(d.next_attempt_at) AS next,
           (array_agg(d.error_detail ORDER BY d.ordinal) FILTER (WHERE d.error_detail IS NOT NULL))[1] AS error
      FROM unnest(m_tenants, m_ids, m_replays, m_events, m_became) AS u (tenant, message, replay, event, became)
      JOIN public.hl7_deliveries d ON d.message_id = u.message AND d.replay = u.replay
     GROUP BY u.tenant, u.message, u.replay, u.event, u.became),
  ended AS (
    UPDATE public.hl7_messages m
       SET processing_status = s.status, error_detail = s.error, attempt_count = s.attempts,
           next_attempt_at = s.next, event_seq = m.event_seq + 1,
           processed_at = CASE WHEN s.status IN ('processed', 'dead_lettered') THEN now() END
      FROM state s
     WHERE m.id = s.message AND m.tenant_id = s.tenant AND m.replay_count = s.replay
       AND (m.processing_status <> s.status OR m.attempt_count <> s.attempts)
    RETURNING m.tenant_id, m.id, m.connector_id, m.message_type, m.processing_status, m.event_seq,
              m.attempt_count, s.event, s.became)
  INSERT INTO public.outbox_events (tenant_id, id, subject, event_type, payload, aggregate_id, aggregate_seq, created_at)
  SELECT e.tenant_id, e.event, public.interop_subject(e.tenant_id, 'message.' || e.processing_status),
         'message.' || e.processing_status,
         public.interop_event(e.event, 'message.' || e.processing_status, e.id,
           jsonb_build_object('connectorId', e.connector_id, 'messageType', e.message_type,
             'status', e.processing_status, 'attemptCount', e.attempt_count,
             'resources', COALESCE(e.became::jsonb,
               (SELECT COALESCE(jsonb_agg(jsonb_build_object('resourceType', l.resource_type,
                        'resourceId', l.resource_id, 'action', l.action) ORDER BY l.delivery_id, l.entry), '[]')
                  FROM public.hl7_resource_links l WHERE l.message_id = e.id)))),
         e.id, e.event_seq, clock_timestamp()
    FROM ended e;
END $$;

REVOKE ALL ON FUNCTION interop_transformed, interop_delivered FROM PUBLIC;
GRANT CREATE ON SCHEMA public TO interop_system;
ALTER FUNCTION interop_transformed OWNER TO interop_system;
ALTER FUNCTION interop_delivered   OWNER TO interop_system;
REVOKE CREATE ON SCHEMA public FROM interop_system;

-- ---- changes of configuration are told to every engine -----------------------------

CREATE FUNCTION interop_connector_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('interop_config', TG_TABLE_NAME || ':' || NEW.tenant_id || ':' || NEW.id);
  RETURN NULL;
END $$;
-- Not for event_seq: an engine that tells of a connector has not changed it.
CREATE TRIGGER connectors_changed AFTER INSERT OR UPDATE OF facility_id, name, protocol, direction, host, port,
    tls_enabled, auth_mode, auth_config, message_types, status, version, pack_digest, settings ON interop_connectors
  FOR EACH ROW EXECUTE FUNCTION interop_connector_changed();

CREATE FUNCTION interop_routing_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('interop_config', TG_TABLE_NAME);
  RETURN NULL;
END $$;
CREATE TRIGGER rules_changed AFTER INSERT OR UPDATE OR DELETE ON fhir_routing_rules
  FOR EACH STATEMENT EXECUTE FUNCTION interop_routing_changed();
CREATE TRIGGER services_changed AFTER INSERT OR UPDATE OR DELETE ON fhir_services
  FOR EACH STATEMENT EXECUTE FUNCTION interop_routing_changed();

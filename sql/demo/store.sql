-- sql/demo/store.sql -- the demo FHIR store: tables, and functions that do a whole
-- interaction, or a whole transaction Bundle, in one statement.
--
-- It is installed by `interop fhir-demo` into a schema of its own (search_path is that
-- schema then, and stays so inside of the functions), and may run again over an
-- older one.
--
-- A resource is kept as text, so that numbers and the order of keys stay as they were
-- sent: `meta` is what its meta holds besides versionId and lastUpdated, `rest` all
-- behind meta; both begin with a comma, unless empty, and end with the closing brace.
-- content() puts them together.
--
-- The planner cannot know how little a range of keys holds, so it thinks every search
-- costly enough for the JIT compiler, which then takes a hundred times what the search
-- does: the functions turn it off.
--
-- What can be searched is in `term` as "name=value" keys: every search is a set of
-- ranges of keys, numbered; resources match that have a key in one range of each
-- number. So the alternatives of one parameter share a number.

CREATE TABLE IF NOT EXISTS resource (
  type    text COLLATE "C" NOT NULL,
  id      text COLLATE "C" NOT NULL,
  version bigint           NOT NULL,
  deleted boolean          NOT NULL,
  updated timestamptz      NOT NULL,       -- in whole milliseconds, as it is shown
  method  text             NOT NULL,       -- that made this version
  meta    text             NOT NULL,
  rest    text             NOT NULL,
  PRIMARY KEY (type, id)
);
CREATE INDEX IF NOT EXISTS resource_updated ON resource (type, updated, id);

CREATE TABLE IF NOT EXISTS history (
  LIKE resource,
  PRIMARY KEY (type, id, version)
);

CREATE TABLE IF NOT EXISTS term (
  type text COLLATE "C" NOT NULL,
  key  text COLLATE "C" NOT NULL,
  id   text COLLATE "C" NOT NULL,
  PRIMARY KEY (type, key, id)
);
CREATE INDEX IF NOT EXISTS term_owner ON term (type, id);

-- Which text of this file made the functions; see the installer.
CREATE TABLE IF NOT EXISTS installed (digest text NOT NULL);

CREATE OR REPLACE FUNCTION instant(t timestamptz) RETURNS text
LANGUAGE sql STABLE AS
$$ SELECT to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') $$;

CREATE OR REPLACE FUNCTION microseconds(t timestamptz) RETURNS bigint
LANGUAGE sql STABLE AS
$$ SELECT (extract(epoch FROM t) * 1000000)::bigint $$;

CREATE OR REPLACE FUNCTION content(r resource) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT '{"resourceType":"' || r.type || '","id":"' || r.id || '","meta":{"versionId":"' || r.version
         || '","lastUpdated":"' || instant(r.updated) || '"' || r.meta || r.rest
$$;

-- Ends the work on a Bundle or request: `http` is the status, `entry` whose fault.
CREATE OR REPLACE FUNCTION refuse(http int, entry int, note text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION USING ERRCODE = 'FH' || http, MESSAGE = note, DETAIL = entry::text;
END $$;

-- The ids of the resources that match all of `criteria`: [{"n":1,"lo":…,"hi":…}, …].
CREATE OR REPLACE FUNCTION match(of_type text, criteria jsonb) RETURNS SETOF text
LANGUAGE sql STABLE AS $$
  WITH q AS (SELECT * FROM jsonb_to_recordset(criteria) AS q(n int, lo text, hi text))
  SELECT hit.id FROM (
      SELECT q.n, t.id FROM q JOIN term t ON t.type = of_type AND t.key = q.lo COLLATE "C"
       WHERE q.lo = q.hi
      UNION ALL
      SELECT q.n, t.id FROM q JOIN term t
          ON t.type = of_type AND t.key >= q.lo COLLATE "C" AND t.key <= q.hi COLLATE "C"
       WHERE q.lo <> q.hi
      UNION ALL
      SELECT q.n, r.id FROM q JOIN resource r
          ON r.type = of_type AND r.id = substr(q.lo, 5) COLLATE "C" AND NOT r.deleted
       WHERE q.lo LIKE '\_id=%') hit
   GROUP BY hit.id
  HAVING count(DISTINCT hit.n) = (SELECT max(n) FROM q)
$$;

-- The keys by which a reference is found: as Type/id and by the id alone; `patient` is for
-- references to patients only, so there the id says all.
CREATE OR REPLACE FUNCTION reference_keys(name text, of_type text, of_id text) RETURNS SETOF text
LANGUAGE sql IMMUTABLE AS $$
  SELECT name || '=' || form
    FROM (VALUES (of_type || '/' || of_id, name <> 'patient'),
                 (of_id, name <> 'patient' OR of_type = 'Patient')) AS forms(form, wanted)
   WHERE wanted
$$;

-- Writes the entries of a Bundle, or the one of a request; all or nothing.
--
--   locks     what must not be written at the same time by others: the resources
--             named and the criteria of conditional entries
--   entries   [{"verb":"create|update|delete", "method":…, "type":…,
--               "id":      the id to write, or the one to give when a new one is made; then
--               "fresh":   the same, since nothing can be there yet,
--               "given":   the id that the resource of a conditional update brought along,
--               "match":   the version that If-Match asks for,
--               "criteria": of a conditional entry, "key": its criteria as text,
--               "meta":…, "rest":…, "terms":[keys],
--               "links":[{"find": the reference as JSON string, "names":[parameters],
--                         "to": entry (from 1) | "type":…, "criteria":… }], absent without}, …]
--   body      whether the resources are wanted back
--
-- One row for each entry, in their order; or one row with the status 4xx and a note, and
-- nothing is written. The steps are those of R4 http, 3.1.0.11.2: deletes, creates,
-- updates, then conditional references; ids are settled before anything is created,
-- since entries may refer to each other in any direction.
CREATE OR REPLACE FUNCTION write(locks text[], entries jsonb, body boolean)
RETURNS TABLE (entry int, status int, r_type text, r_id text, version bigint, updated text,
               updated_us bigint, content text, note text)
LANGUAGE plpgsql SET search_path FROM CURRENT SET jit = off AS $$
#variable_conflict use_column
DECLARE
  stamp    timestamptz;
  k        bigint;
  e        jsonb;
  l        jsonb;
  i        int;
  hits     text[];
  touched  text[] := '{}';
  n        int := jsonb_array_length(entries);
  a_type   text[] := array_fill(NULL::text, ARRAY[n]);
  a_id     text[] := array_fill(NULL::text, ARRAY[n]);
  a_key    text[] := array_fill(NULL::text, ARRAY[n]);
  a_status int[]  := array_fill(NULL::int, ARRAY[n]);
  old      resource;
  held     boolean;
  text_    text;
  detail_  text;
BEGIN
  -- Always in the same order, so that two Bundles cannot wait for each other here.
  FOR k IN SELECT DISTINCT hashtextextended(current_schema() || ' ' || name, 0)
             FROM unnest(locks) AS name ORDER BY 1 LOOP
    PERFORM pg_advisory_xact_lock(k);
  END LOOP;
  stamp := date_trunc('milliseconds', clock_timestamp());

  -- Deletes, and which resource each of the other entries is about.
  FOR i, e IN SELECT x.ordinality, x.value FROM jsonb_array_elements(entries) WITH ORDINALITY AS x
               ORDER BY array_position(ARRAY['delete', 'create', 'update'], x.value->>'verb'), x.ordinality LOOP
    a_type[i] := e->>'type';
    a_id[i] := e->>'id';
    IF e ? 'criteria' THEN
      -- The same condition twice in one Bundle means one resource.
      a_key[i] := (e->>'verb') || ' ' || a_type[i] || ' ' || (e->>'key');
      k := array_position(a_key[:i - 1], a_key[i]);
      IF k IS NOT NULL AND e->>'verb' = 'create' THEN
        a_id[i] := a_id[k];
        a_status[i] := 200;
        CONTINUE;
      END IF;
      SELECT array_agg(m) INTO hits
        FROM (SELECT m FROM match(a_type[i], e->'criteria') AS m LIMIT 2) AS two;
      IF array_length(hits, 1) > 1 THEN
        PERFORM refuse(412, i, 'several resources match the condition');
      ELSIF hits IS NOT NULL THEN
        IF e->>'given' <> hits[1] THEN
          PERFORM refuse(400, i, 'the resource has another id than the one that matches the condition');
        END IF;
        a_id[i] := hits[1];
        IF e->>'verb' = 'create' THEN
          a_status[i] := 200;
          CONTINUE;
        END IF;
      ELSIF e->>'verb' = 'delete' THEN
        a_id[i] := NULL;
        a_status[i] := 204;
        CONTINUE;
      ELSE
        a_id[i] := coalesce(e->>'given', a_id[i]);
      END IF;
    END IF;
    IF a_type[i] || '/' || a_id[i] = ANY (touched) THEN
      PERFORM refuse(400, i, 'two entries write the same resource');
    END IF;
    touched := touched || (a_type[i] || '/' || a_id[i]);

    IF e->>'verb' = 'delete' THEN
      SELECT * INTO old FROM resource r WHERE r.type = a_type[i] AND r.id = a_id[i] FOR UPDATE;
      held := FOUND AND NOT old.deleted;
      IF e ? 'match' AND (NOT held OR old.version <> (e->>'match')::bigint) THEN
        PERFORM refuse(412, i, 'the resource is not at the version that If-Match names');
      END IF;
      a_status[i] := 204;
      IF held THEN
        INSERT INTO history SELECT old.*;
        UPDATE resource r
           SET version = old.version + 1, deleted = true, updated = greatest(stamp, old.updated),
               method = 'DELETE', meta = '}', rest = '}'
         WHERE r.type = a_type[i] AND r.id = a_id[i];
        DELETE FROM term t WHERE t.type = a_type[i] AND t.id = a_id[i];
      END IF;
    END IF;
  END LOOP;

  -- Creates and updates.
  FOR i, e IN SELECT x.ordinality, x.value FROM jsonb_array_elements(entries) WITH ORDINALITY AS x
               WHERE a_status[x.ordinality] IS NULL
               ORDER BY array_position(ARRAY['create', 'update'], x.value->>'verb'), x.ordinality LOOP
    held := false;
    IF e->>'fresh' IS DISTINCT FROM a_id[i] THEN
      SELECT * INTO old FROM resource r WHERE r.type = a_type[i] AND r.id = a_id[i] FOR UPDATE;
      held := FOUND;
    END IF;
    IF e ? 'match' AND (NOT held OR old.deleted OR old.version <> (e->>'match')::bigint) THEN
      PERFORM refuse(412, i, 'the resource is not at the version that If-Match names');
    END IF;
    IF held THEN
      DELETE FROM term t WHERE t.type = a_type[i] AND t.id = a_id[i]
         AND t.key NOT IN (SELECT jsonb_array_elements_text(e->'terms'));
    END IF;
    INSERT INTO term SELECT a_type[i], t, a_id[i] FROM jsonb_array_elements_text(e->'terms') AS t
        ON CONFLICT DO NOTHING;

    text_ := e->>'rest';
    IF e ? 'links' THEN
      FOR l IN SELECT x FROM jsonb_array_elements(e->'links') AS x WHERE x ? 'to' LOOP
        k := (l->>'to')::int;
        text_ := replace(text_, '"reference":' || (l->>'find'),
                         '"reference":"' || a_type[k] || '/' || a_id[k] || '"');
        INSERT INTO term SELECT a_type[i], t, a_id[i]
          FROM jsonb_array_elements_text(l->'names') AS name, reference_keys(name, a_type[k], a_id[k]) AS t
            ON CONFLICT DO NOTHING;
      END LOOP;
    END IF;

    IF held THEN
      a_status[i] := CASE WHEN old.deleted THEN 201 ELSE 200 END;
      INSERT INTO history SELECT old.*;
      UPDATE resource r
         SET version = old.version + 1, deleted = false, updated = greatest(stamp, old.updated),
             method = e->>'method', meta = e->>'meta', rest = text_
       WHERE r.type = a_type[i] AND r.id = a_id[i];
    ELSE
      a_status[i] := 201;
      INSERT INTO resource VALUES (a_type[i], a_id[i], 1, false, stamp, e->>'method', e->>'meta', text_);
    END IF;
  END LOOP;

  -- Conditional references, which may mean what this Bundle has just created.
  FOR i, l IN SELECT x.ordinality, y FROM jsonb_array_elements(entries) WITH ORDINALITY AS x,
                     jsonb_array_elements(x.value->'links') AS y
               WHERE x.value ? 'links' AND y ? 'criteria' LOOP
    CONTINUE WHEN a_status[i] = 200 AND entries->(i - 1)->>'verb' = 'create';     -- was there, stays
    SELECT array_agg(m) INTO hits
      FROM (SELECT m FROM match(l->>'type', l->'criteria') AS m LIMIT 2) AS two;
    IF hits IS NULL THEN
      PERFORM refuse(412, i, 'no resource matches a conditional reference');
    ELSIF array_length(hits, 1) > 1 THEN
      PERFORM refuse(412, i, 'several resources match a conditional reference');
    END IF;
    UPDATE resource r
       SET rest = replace(r.rest, '"reference":' || (l->>'find'),
                          '"reference":"' || (l->>'type') || '/' || hits[1] || '"')
     WHERE r.type = a_type[i] AND r.id = a_id[i];
    INSERT INTO term SELECT a_type[i], t, a_id[i]
      FROM jsonb_array_elements_text(l->'names') AS name, reference_keys(name, l->>'type', hits[1]) AS t
        ON CONFLICT DO NOTHING;
  END LOOP;

  RETURN QUERY
    SELECT a.ordinality::int, a.status, a.type, a.id, r.version, instant(r.updated), microseconds(r.updated),
           CASE WHEN body AND NOT r.deleted THEN content(r) END, NULL::text
      FROM unnest(a_status, a_type, a_id) WITH ORDINALITY AS a(status, type, id)
      LEFT JOIN resource r ON r.type = a.type AND r.id = a.id
     ORDER BY a.ordinality;
EXCEPTION WHEN OTHERS THEN
  -- Only what refuse() raised is an answer; this block's writes are undone by then.
  IF SQLSTATE NOT LIKE 'FH%' THEN RAISE; END IF;
  GET STACKED DIAGNOSTICS text_ = MESSAGE_TEXT, detail_ = PG_EXCEPTION_DETAIL;
  RETURN QUERY SELECT detail_::int, substr(SQLSTATE, 3)::int, NULL::text, NULL::text, NULL::bigint, NULL::text,
                      NULL::bigint, NULL::text, text_;
END $$;

-- One version of a resource, the present one when `at_version` is NULL; no row: never was.
CREATE OR REPLACE FUNCTION read(of_type text, of_id text, at_version bigint)
RETURNS TABLE (deleted boolean, version bigint, updated text, updated_us bigint, content text)
LANGUAGE sql STABLE SET search_path FROM CURRENT SET jit = off AS $$
  SELECT r.deleted, r.version, instant(r.updated), microseconds(r.updated), content(r)
    FROM resource r
   WHERE r.type = of_type AND r.id = of_id AND (at_version IS NULL OR r.version = at_version)
   UNION ALL
  SELECT h.deleted, h.version, instant(h.updated), microseconds(h.updated), content(ROW(h.*)::resource)
    FROM history h
   WHERE h.type = of_type AND h.id = of_id AND h.version = at_version
$$;

-- The versions of a resource, newest first; `total` counts all of them.
CREATE OR REPLACE FUNCTION history(of_type text, of_id text, at_most int)
RETURNS TABLE (deleted boolean, version bigint, updated text, method text, content text, total bigint)
LANGUAGE sql STABLE SET search_path FROM CURRENT SET jit = off AS $$
  SELECT a.deleted, a.version, instant(a.updated), a.method, content(ROW(a.*)::resource), count(*) OVER ()
    FROM (SELECT * FROM resource r WHERE r.type = of_type AND r.id = of_id
          UNION ALL
          SELECT * FROM history h WHERE h.type = of_type AND h.id = of_id) a
   ORDER BY a.version DESC LIMIT at_most
$$;

-- The WHERE of a search, for the two functions below: $1 type, $2 criteria, $3 and $4 the span
-- of _lastUpdated.
CREATE OR REPLACE FUNCTION search_where(criteria jsonb, from_us bigint, to_us bigint) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
  SELECT 'r.type = $1 AND NOT r.deleted'
         || CASE WHEN criteria = '[]' THEN '' ELSE ' AND r.id IN (SELECT match($1, $2))' END
         || CASE WHEN from_us IS NULL THEN '' ELSE ' AND r.updated >= to_timestamp($3 / 1000000.0)' END
         || CASE WHEN to_us IS NULL THEN '' ELSE ' AND r.updated < to_timestamp($4 / 1000000.0)' END
$$;

CREATE OR REPLACE FUNCTION count_matches(of_type text, criteria jsonb, from_us bigint, to_us bigint)
RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
  n bigint;
BEGIN
  EXECUTE 'SELECT count(*) FROM resource r WHERE ' || search_where(criteria, from_us, to_us)
     INTO n USING of_type, criteria, from_us, to_us;
  RETURN n;
END $$;

-- A page of a search, after the resource that `after_us` and `after_id` tell (NULL: the first).
-- `order_by`: id, -id, updated or -updated.
CREATE OR REPLACE FUNCTION search(of_type text, criteria jsonb, from_us bigint, to_us bigint,
                                  order_by text, after_us bigint, after_id text, at_most int)
RETURNS TABLE (id text, updated_us bigint, content text)
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT SET jit = off AS $$
DECLARE
  by_id boolean := order_by IN ('id', '-id');
  down  boolean := order_by LIKE '-%';
BEGIN
  RETURN QUERY EXECUTE
    'SELECT r.id, microseconds(r.updated), content(r) FROM resource r WHERE '
    || search_where(criteria, from_us, to_us)
    || CASE WHEN after_id IS NULL THEN ''
            WHEN by_id THEN ' AND r.id ' || CASE WHEN down THEN '<' ELSE '>' END || ' $6'
            ELSE ' AND (r.updated, r.id) ' || CASE WHEN down THEN '<' ELSE '>' END
                 || ' (to_timestamp($5 / 1000000.0), $6)' END
    || CASE order_by WHEN 'id' THEN ' ORDER BY r.id'
                     WHEN '-id' THEN ' ORDER BY r.id DESC'
                     WHEN '-updated' THEN ' ORDER BY r.updated DESC, r.id DESC'
                     ELSE ' ORDER BY r.updated, r.id' END
    || ' LIMIT $7'
    USING of_type, criteria, from_us, to_us, after_us, after_id, at_most;
END $$;

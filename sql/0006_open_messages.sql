-- no transaction
-- 0006: what is to be transformed and what is to be delivered are read apart.
--
-- The indexes are built while messages come in, which PostgreSQL does only outside of a transaction: each statement
-- runs by itself, and all of them again if one fails, so they begin by dropping what such an attempt has left.
-- They take the place of idx_hl7_open (0002): the release before this one asks for one or the other, too.

SET statement_timeout = 0;
SET lock_timeout = 0;

DROP INDEX CONCURRENTLY IF EXISTS idx_hl7_to_deliver;
CREATE INDEX CONCURRENTLY idx_hl7_to_deliver ON hl7_messages (connector_id, seq)
  WHERE processing_status IN ('pending', 'processing', 'failed') AND transformed_at IS NOT NULL;

DROP INDEX CONCURRENTLY IF EXISTS idx_hl7_to_transform;
CREATE INDEX CONCURRENTLY idx_hl7_to_transform ON hl7_messages (connector_id, seq)
  WHERE processing_status IN ('pending', 'processing', 'failed') AND transformed_at IS NULL;

DROP INDEX CONCURRENTLY IF EXISTS idx_hl7_open;

RESET statement_timeout;
RESET lock_timeout;

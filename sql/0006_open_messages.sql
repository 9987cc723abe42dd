-- no transaction
-- 0006: what is to be transformed and what is to be delivered are read apart.
--
-- The indexes are built while messages come in, which PostgreSQL does only outside of a transaction: each statement
-- runs by itself (and what a SELECT returns, too), and if one fails, all of them again.
-- idx_hl7_open (0002) is what the release before this one reads by; a migration of the next release drops it.

SET statement_timeout = 0;
SET lock_timeout = 0;

-- What an attempt that was broken off has left.
SELECT 'DROP INDEX CONCURRENTLY ' || indexrelid::regclass FROM pg_index
 WHERE indexrelid IN (to_regclass('idx_hl7_to_transform'), to_regclass('idx_hl7_to_deliver')) AND NOT indisvalid;

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_hl7_to_transform ON hl7_messages (connector_id, seq)
  WHERE processing_status IN ('pending', 'processing', 'failed') AND transformed_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_hl7_to_deliver ON hl7_messages (connector_id, seq)
  WHERE processing_status IN ('pending', 'processing', 'failed') AND transformed_at IS NOT NULL;

RESET statement_timeout;
RESET lock_timeout;

-- What the engine's role may do; `interop migrate` runs this after the migrations,
-- with the role's name in place of :engine. It neither owns anything nor
-- bypasses row-level security, and nothing lets it change a stored payload.
GRANT USAGE ON SCHEMA public TO :engine;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO :engine;
GRANT USAGE ON SEQUENCE hl7_message_batch_seq TO :engine;

GRANT INSERT, UPDATE ON interop_connectors TO :engine;
GRANT INSERT ON hl7_messages TO :engine;
GRANT UPDATE (seq, processing_status, error_detail, attempt_count, processed_at, transformed_at, next_attempt_at,
              replay_count, replay_pack, event_seq) ON hl7_messages TO :engine;
GRANT UPDATE (status, next_attempt_at, ended_at) ON hl7_deliveries TO :engine;
GRANT INSERT, UPDATE, DELETE ON hl7_quarantine TO :engine;
GRANT INSERT ON script_packs TO :engine;
GRANT INSERT, UPDATE, DELETE ON fhir_routing_rules, fhir_services TO :engine;
GRANT INSERT, UPDATE, DELETE ON bulk_export_jobs, bulk_export_files TO :engine;
GRANT INSERT ON outbox_events TO :engine;
GRANT EXECUTE ON FUNCTION interop_connector_ids(), interop_port_users(TEXT, INTEGER),
                          interop_outbox_pending(INTEGER), interop_outbox_published(TEXT[]) TO :engine;

GRANT EXECUTE ON FUNCTION interop_transformed, interop_message_transformed, interop_delivered TO :engine;
GRANT EXECUTE ON FUNCTION interop_node_join, interop_node_beat, interop_node_leave, interop_lease_changes, interop_lease_take,
                          interop_lease_release, interop_lease_counts, interop_lease_check, interop_handover, interop_relay_share,
                          interop_outbox_pending(INTEGER, INTEGER[]) TO :engine;

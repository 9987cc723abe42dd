/* store/connectors.h -- interop_connectors for the administration: every change
 * with its event, each within a transaction for the tenant. */
#ifndef STORE_CONNECTORS_H
#define STORE_CONNECTORS_H

#include "store/rows.h"

typedef struct connector_row {
    slice   id, tenant_id, name, protocol, direction;
    slice   facility_id, host;           /* NULL pointer: none */
    int64_t port;                        /* -1: none */
    bool    tls_enabled;
    slice   auth_mode;
    slice   message_types;               /* JSON array; [] takes all */
    slice   status;
    int64_t version;
    slice   created_at, updated_at;
    slice   pack_digest;                 /* NULL pointer: none */
    slice   settings;                    /* JSON object, see engine/settings.h */
} connector_row;

/* As the data model's interface InteropConnector; authConfig is never shown. */
void connector_json(buf *out, const connector_row *c);

/* Stores a new connector, `configured`; id and version are set here, and the row is
 * read back into `mem`. ERR_CONFLICT when the tenant has one of this name.
 * Event: connector.configured. */
must_check err connectors_add(db *d, arena *mem, connector_row *c, err_info *why);

/* By name or id; ERR_NOT_FOUND. Locks the row until the transaction ends. */
must_check err connectors_get(db *d, arena *mem, slice tenant, slice name_or_id, connector_row *out, err_info *why);
must_check err connectors_list(db *d, arena *mem, connector_row **out, size_t *count, err_info *why);

/* Writes what may be changed: name, host, port, tls_enabled, auth_mode,
 * message_types, pack_digest, settings. `c->version` is the one that was read: ERR_CONFLICT when
 * it is stale; then the next. Event: connector.changed. */
must_check err connectors_set(db *d, arena *mem, connector_row *c, err_info *why);

/* configured -> active <-> paused -> inactive; inactive -> active. It is a change as
 * any other, so the version rises. Nothing happens when it is so already. ERR_CONFLICT says what may be done instead. Events:
 * connector.activated, connector.paused, connector.deactivated. */
must_check err connectors_enter(db *d, arena *mem, connector_row *c, const char *status, err_info *why);

/* ERR_CONFLICT when another connector, of whatever tenant, listens there. */
must_check err connectors_port_free(db *d, arena *mem, slice address, int64_t port, slice own_id, err_info *why);

/* The tenants that have connectors. Outside of a tenant's transaction. */
must_check err connectors_tenants(db *d, arena *mem, slice **out, size_t *count, err_info *why);

#endif

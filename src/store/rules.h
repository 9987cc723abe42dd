/* store/rules.h -- fhir_routing_rules and the fhir_services that they name. Rules
 * are the platform's; a service is the platform's or one tenant's. */
#ifndef STORE_RULES_H
#define STORE_RULES_H

#include "store/rows.h"

typedef struct rule_row {
    slice   id, resource_type;           /* a FHIR type, or "*" */
    slice   category, profile;           /* NULL pointer: any */
    slice   service_url;                 /* without a slash at its end */
    bool    fan_out;
    int64_t priority;
    bool    active;
    slice   service_name;                /* of the service of this URL, when listed */
} rule_row;

typedef struct service_row {
    slice   id, tenant_id;               /* NULL pointer: every tenant's */
    slice   name;                        /* NULL pointer in services_put: as it is, at first the URL's host */
    slice   url;
    bool    transactions;
    int64_t concurrency;
    slice   ca_file;                     /* NULL pointer: the system's authorities */
} service_row;

/* As the data model's interface FhirRoutingRule, with serviceName. */
void rule_json(buf *out, const rule_row *r);

/* Takes a base URL as people write it apart from what a base may not have:
 * ERR_CONFIG for another scheme than http or https, a user or password in it, a
 * query or fragment. `*out` is without a slash at its end; `*host` is host:port. */
must_check err rule_url(slice text, slice *out, slice *host, err_info *why);

/* Makes the service of `s->url` known, or changes the one that is there. In a
 * transaction for its tenant, or for none. Event: service.configured. */
must_check err services_put(db *d, arena *mem, service_row *s, err_info *why);

/* Stores a new rule, within any transaction. ERR_CONFLICT names the
 * active rule that stands for the same. Event: rule.added. */
must_check err rules_add(db *d, arena *mem, rule_row *r, err_info *why);

/* The active rules, and with `all` the others, most specific first. */
must_check err rules_list(db *d, arena *mem, bool all, rule_row **out, size_t *count, err_info *why);

/* Takes a rule out of use; ERR_NOT_FOUND. Event: rule.deactivated. */
must_check err rules_deactivate(db *d, slice rule_id, err_info *why);

#endif

/* engine/routes.h -- where a tenant's resources go: the active routing rules and the
 * services that the tenant reaches. An immutable, counted snapshot. */
#ifndef ENGINE_ROUTES_H
#define ENGINE_ROUTES_H

#include <stdatomic.h>

#include "base/json.h"
#include "store/result.h"

typedef struct service {
    slice  id, name, url;                /* the base, without a slash at its end */
    bool   transactions;
    int    concurrency;
    const char *ca;                      /* PEM file; NULL: the system's */
} service;

typedef struct routing_rule {
    slice  id, resource_type, category, profile;         /* empty: any */
    int64_t priority;
    const service *to;                   /* NULL: its service is not one that the tenant reaches */
} routing_rule;

typedef struct routes {
    atomic_int    count;
    arena         mem;
    service      *services;
    int           service_count;
    routing_rule *rules;                 /* most specific first, then by priority, then id */
    int           rule_count;
} routes;

/* From the results of feed_routes. `{tenant}` in a URL becomes the tenant. */
routes *routes_new(slice tenant, const pg_result *services, const pg_result *rules);
routes *routes_keep(routes *r);
void routes_drop(routes *r);             /* NULL allowed; any thread */

/* The rule for a resource (DESIGN section 6): the most specific match of type, category and
 * profile wins (profile before category before type before `*`), then the higher
 * priority. NULL when none matches. A category is "system|code" or "code". */
const routing_rule *routes_find(const routes *r, arena *mem, const json *resource);

/* The service of this name, at this URL; NULL when there is none that the tenant reaches. */
const service *routes_service(const routes *r, slice name);
const service *routes_service_at(const routes *r, slice url);

#endif

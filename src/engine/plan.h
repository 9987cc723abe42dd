/* engine/plan.h -- from what a script returned to deliveries: one for each service (or several, see
 * plan.c), each knowing whose answers it needs. Pure: the same result and routes give the same plan, and
 * where it is known which resources went where, the same result gives that plan again, whatever the routes say by
 * then; so deliveries need not be stored with their content. */
#ifndef ENGINE_PLAN_H
#define ENGINE_PLAN_H

#include "engine/routes.h"
#include "script/result.h"

typedef struct plan_entry {
    json  *resource;
    slice  full_url, type, if_none_exist;
    slice  to;                           /* the service that the script named; empty: none */
    bool   owned;
    int    from;                         /* which of the script's resources it is, from 0 */
} plan_entry;

typedef struct plan_delivery {
    const service *to;                   /* kept alive by the job's routes, or by its arena */
    bool        gone;                    /* the tenant does not reach it any more: only its URL is known */
    slice       rule_id;                 /* empty: the script named the service */
    plan_entry *entries;
    int         entry_count;
    int        *needs;                   /* ordinals, ascending */
    int         need_count;
} plan_delivery;

typedef struct plan {
    plan_delivery *deliveries;
    int            count;
} plan;

/* Places every resource by the routes `by`. ERR_REFUSED when a resource has no rule, a service is not one that the tenant reaches, or
 * resources on several services refer to each other in a circle; `why` names type and rule. */
must_check err plan_make(arena *mem, const script_result *result, const routes *by, plan *out, err_info *why);

/* What is stored of a delivery's resources: which of the script's they are (NULL: all, of an only delivery), in
 * `mem`; and a hash of their types and of the services that the script named. */
const int *plan_resources(arena *mem, const plan *p, int delivery);
int64_t plan_shape(const plan_delivery *d);

/* A delivery as it was made by an earlier run of the message. */
typedef struct plan_made {
    slice      service_url;
    bool       known;                    /* `resources` and `shape` were stored */
    const int *resources;
    int        resource_count;
    int64_t    shape;
} plan_made;

/* The plan of then: each delivery with its resources and to its service. Where it is not known which they were, all
 * are placed by the routes of now, with the errors of plan_make. ERR_CONFLICT when this is not what was made then. */
must_check err plan_remake(arena *mem, const script_result *result, const routes *by, const plan_made *made, int count,
                           plan *out, err_info *why);

/* Where an entry of the plan stands; false when no entry has this fullUrl. */
must_check bool plan_find(const plan *p, slice full_url, int *delivery, int *entry);

#endif

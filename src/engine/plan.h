/* engine/plan.h -- from what a script returned to deliveries: one for each service (or several, see
 * plan.c), each knowing whose answers it needs. Pure: the same result and routes give the same plan, so
 * that deliveries need not be stored with their content. */
#ifndef ENGINE_PLAN_H
#define ENGINE_PLAN_H

#include "engine/routes.h"
#include "script/result.h"

typedef struct plan_entry {
    json  *resource;
    slice  full_url, type, if_none_exist;
    bool   owned;
} plan_entry;

typedef struct plan_delivery {
    const service *to;                   /* kept alive by the job's routes */
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

/* Where an entry of the plan stands; false when no entry has this fullUrl. */
must_check bool plan_find(const plan *p, slice full_url, int *delivery, int *entry);

#endif

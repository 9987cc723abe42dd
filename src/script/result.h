/* script/result.h -- what one run of a script wants to happen. All in the run's
 * arena; the engine does the I/O. */
#ifndef SCRIPT_RESULT_H
#define SCRIPT_RESULT_H

#include "base/json.h"

/* One resource to deliver: out:put. */
typedef struct script_resource {
    struct script_resource *next;
    json *resource;                      /* with resourceType; JSON null marks an element to delete */
    slice full_url;                      /* "urn:uuid:…", the same for the same input */
    slice type;                          /* resourceType */
    slice if_none_exist;                 /* search that finds it: "identifier=sys%7Cvalue"; empty: always new */
    bool  owned;                         /* this message owns it: update it when it exists; else only refer */
    slice to;                            /* a service's name; empty: routed by rule */
} script_resource;

/* One HL7 message to send: out:hl7. */
typedef struct script_hl7 {
    struct script_hl7 *next;
    slice connector;                     /* name of an outbound connector of the tenant */
    slice bytes;
} script_hl7;

/* One event: out:event. */
typedef struct script_event {
    struct script_event *next;
    slice type;                          /* "lab.critical" */
    json *data;                          /* may be NULL */
} script_event;

typedef struct script_result {
    script_resource *resources;          /* in the order of out:put */
    script_hl7      *hl7;
    script_event    *events;
    size_t           resource_count, hl7_count, event_count;
    bool             refused;            /* out:refuse: a negative end, on purpose; no resources, no HL7 */
    slice            reason;             /* of a refusal, or of `skipped` */
    bool             skipped;            /* no handler, or out:skip: nothing to do; likewise */
} script_result;

#endif

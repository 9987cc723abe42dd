/* demo/demo.h -- a small FHIR R4 store over HTTP, on PostgreSQL: for trying out and for tests.
 *
 * It is a demo and says so: no authentication, no profiles. The FHIR base is /fhir. */
#ifndef DEMO_DEMO_H
#define DEMO_DEMO_H

#include <uv.h>

#include "base/base.h"

typedef struct demo demo;

typedef struct demo_config {
    const char *address;
    uint16_t    port;                    /* 0 picks one */
    const char *url;                     /* of PostgreSQL; borrowed */
    const char *schema;
    int         connections;
} demo_config;

/* Listens at once; requests get 503 until the database is there. ERR_NET: the port is in
 * use; ERR_USAGE: the schema's name is none. */
must_check err demo_open(uv_loop_t *loop, const demo_config *config, demo **out, err_info *why);
uint16_t demo_port(const demo *d);

/* Answers what is in work, then closes everything; `done` once. */
void demo_close(demo *d, void (*done)(void *arg), void *arg);

#endif

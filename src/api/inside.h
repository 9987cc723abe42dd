/* api/inside.h -- shared by the files of this folder only. */
#ifndef API_INSIDE_H
#define API_INSIDE_H

#include "api/api.h"
#include "net/http_server.h"

struct api {
    uv_loop_t    *loop;
    const config *cfg;
    engine       *e;
    http_server  *server;
    list          streams;               /* events.c */
    uv_timer_t    beat;
    unsigned      beats;
    void        (*closed)(void *arg);
    void         *closed_arg;
    bool          closing;
};

/* RFC 9457 problem JSON. `detail` is for a person and holds nothing of a request's body. */
void api_problem(http_request *r, int status, const char *title, const char *detail);

/* May this caller use /v1? Answers with a problem when not. */
must_check bool api_admits(const api *a, http_request *r);

/* GET /v1/events?tenant=T: the tenant's events as a server-sent stream. */
void events_serve(api *a, http_request *r);
void events_wake(void *arg);             /* engine_on_events; arg: the api */
void events_beat(api *a);                /* once a second */
void events_end(api *a);

#endif

/* api/api.h -- the HTTP side of the engine: one listener, its routes. */
#ifndef API_API_H
#define API_API_H

#include "engine/engine.h"

typedef struct api api;

/* Listens where the configuration says. ERR_NET names the address and why. */
must_check err api_open(uv_loop_t *loop, const config *cfg, engine *e, api **out, err_info *why);

uint16_t api_port(const api *a);

/* The engine is about to close: streams end, requests are answered. Before engine_close. */
void api_close(api *a, void (*done)(void *arg), void *arg);

#endif

/* engine/engine.h -- the engine as one object: start it, ask how it is, stop it. */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <uv.h>

#include "engine/config.h"
#include "store/pg.h"

typedef struct engine engine;

/* Opens the database connections; connectors start when it is ready. `lua_dir` is the
 * library's folder, for watched packs. The config must outlive the engine. */
must_check err engine_open(uv_loop_t *loop, const config *cfg, const char *lua_dir, engine **out, err_info *why);

/* Stops accepting, answers what was read, finishes or hands back what is in flight
 * within drain_ms; then `done`, and the engine is gone. */
void engine_close(engine *e, void (*done)(void *arg), void *arg);

/* For /readyz: everything is connected and connectors are loaded; else `why` says what is missing. */
bool engine_ready(const engine *e, err_info *why);

/* synchronous_standby_names is set: a failover loses nothing that was acknowledged. */
bool engine_failover_safe(const engine *e);

/* Something that stands in the way for good (fsync is off, a role that sees too much):
 * the process should end with this. ERR_OK while there is none. */
err engine_fatal(const engine *e, err_info *why);

/* The connection for reading (store/feed.h), for the API. */
pg *engine_feed(engine *e);

/* Brings the gauges that are computed on demand up to date. */
void engine_measure(engine *e);

/* Calls `woken` on the loop whenever events were committed. One listener; NULL ends it. */
void engine_on_events(engine *e, void (*woken)(void *arg), void *arg);

#endif

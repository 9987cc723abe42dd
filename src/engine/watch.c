/* engine/watch.c -- reads, tries and pushes a watched pack on libuv's pool, with a database
 * connection of its own; connectors learn of it as of any other change. */
#include "engine/watch.h"

#include <stdlib.h>

#include "base/log.h"
#include "engine/inside.h"
#include "engine/pack_folder.h"
#include "store/connectors.h"
#include "store/packs.h"

typedef struct user { slice tenant, connector_id, pack, digest; } user;    /* a connector that has a pack */

struct watch {
    engine   *e;
    uv_work_t work;
    bool      busy;
    char      seen[SHA256_HEX + 1];      /* digest of what was pushed, or refused, last */
    arena     mem;                       /* of one look */
    user     *users;
    size_t    user_count;
    size_t    pushed;
    err_info  why;                       /* code ERR_OK: nothing is wrong */
    void    (*closed)(void *arg);
    void     *closed_arg;
};

static err push_to(watch *w, db *d, const pack *p, const user *u, err_info *why)
{
    connector_row row;
    bool added;
    err e = db_begin(d, u->tenant, why);

    if (e == ERR_OK)
        e = packs_push(d, u->tenant, slice_of(pack_digest(p)), pack_name(p), pack_version(p), pack_archive(p), &added, why);
    if (e == ERR_OK) e = connectors_get(d, &w->mem, u->tenant, u->connector_id, &row, why);
    if (e == ERR_OK) {
        row.pack_digest = slice_of(pack_digest(p));
        e = connectors_set(d, &w->mem, &row, why);
    }
    if (e == ERR_OK) e = db_commit(d, why);
    if (e != ERR_OK) db_rollback(d);
    return e;
}

static err push_to_all(watch *w, const pack *p, err_info *why)
{
    db *d = NULL;
    err e = ERR_OK;

    for (size_t i = 0; e == ERR_OK && i < w->user_count; i++) {
        const user *u = &w->users[i];
        if (!slice_eq(u->pack, pack_name(p)) || slice_is(u->digest, pack_digest(p))) continue;
        if (d == NULL) e = db_open(w->e->cfg->database_url, "interop watch", &d, why);
        if (e == ERR_OK) e = push_to(w, d, p, u, why);
        if (e == ERR_OK) w->pushed++;
    }
    db_close(d);
    return e;
}

static void look(uv_work_t *work)
{
    watch *w = container_of(work, watch, work);
    char hex[SHA256_HEX + 1];
    pack *p = NULL;
    slice archive;
    sha256 hash;
    err e = pack_folder_read(&w->mem, w->e->cfg->watch, w->e->lua_dir, &archive, &w->why);

    if (e != ERR_OK) return;
    hash = sha256_of(archive);
    if (strcmp(sha256_hex(&hash, hex), w->seen) == 0) return;
    e = pack_open(archive, hex, &p, &w->why);
    if (e == ERR_OK) e = push_to_all(w, p, &w->why);
    /* A pack that does not open is said once; a database that is away is tried again. */
    if (e == ERR_OK || e == ERR_SCRIPT) memcpy(w->seen, hex, sizeof hex);
    pack_drop(p);
}

static void finish(watch *w)
{
    void (*closed)(void *) = w->closed;
    void *arg = w->closed_arg;

    arena_free(&w->mem);
    free(w);
    closed(arg);
}

static void looked(uv_work_t *work, int status)
{
    watch *w = container_of(work, watch, work);

    (void)status;
    w->busy = false;
    if (w->why.code != ERR_OK)
        log_line(LOG_WARN, "watch.pack_not_pushed", log_why(&w->why));
    else if (w->pushed > 0)
        log_line(LOG_INFO, "watch.pack_pushed", log_id("digest", slice_of(w->seen)), log_int("connectors", (int64_t)w->pushed));
    arena_reset(&w->mem);
    if (w->closed != NULL) finish(w);
}

watch *watch_open(engine *e)
{
    watch *w;

    if (e->cfg->watch[0] == '\0') return NULL;
    w = mem_zalloc(sizeof *w);
    w->e = e;
    return w;
}

void watch_tick(watch *w)
{
    if (w == NULL || w->busy || w->closed != NULL) return;
    w->busy = true;
    w->pushed = 0;
    w->why = (err_info){ 0 };
    w->user_count = 0;
    w->users = arena_array(&w->mem, user, w->e->connectors.count + 1);
    list_each(l, &w->e->connector_list) {
        const connector *c = container_of(l, connector, link);
        if (c->prog == NULL) continue;
        w->users[w->user_count++] = (user){
            arena_dup(&w->mem, c->tenant), arena_dup(&w->mem, id_slice(&c->connector_id)),
            arena_dup(&w->mem, pack_name(c->prog->pack)), arena_dup(&w->mem, c->pack_digest),
        };
    }
    if (uv_queue_work(w->e->loop, &w->work, look, looked) != 0) die("uv_queue_work failed");
}

void watch_close(watch *w, void (*done)(void *arg), void *arg)
{
    if (w == NULL) { done(arg); return; }
    w->closed = done;
    w->closed_arg = arg;
    if (!w->busy) finish(w);
}

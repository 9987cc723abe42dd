/* engine/node.c -- joins, renews, takes connectors, gives them up, and finds out that it was taken for dead.
 *
 * Taking is in three steps. The lease is taken in a transaction of its own: what begins to store or to
 * record from then on sees it (sql/0003_nodes.sql). What began earlier may have seen the lease of before:
 * such transactions end first, those of a node that is gone by force. Then all that is open is read,
 * and nothing can come to it that this node is not told of. */
#include "engine/node.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/log.h"
#include "engine/inside.h"

enum {
    LEASE_MS = 5000, GRACE_MS = 2000,
    MARGIN_MS = 300,                     /* from the look at the lease to the first byte on the wire */
    LOOK_MS = 10, FENCE_AFTER = 200,     /* looks at earlier transactions; of those, before they are ended */
    LEAVE_MS = 5000,                     /* for a connector that another node is to have to end what it began */
    TAKE_AT_ONCE = 200
};

typedef enum node_state { NODE_OUT, NODE_JOINING, NODE_IN, NODE_LEAVING } node_state;

struct this_node {
    engine      *e;
    node_state   state;
    id           node_id;
    node_process self;
    char         name[96], host[128];
    bool         joined_once, beating, again, taking;
    uint64_t     asked_ms;               /* clock_boot_ms of the renewal under way */
    char         moment[40];             /* transactions from before this end before anything is read */
    unsigned     looks;
    uv_timer_t   look;
    void       (*done)(void *arg);
    void        *arg;
};

/* ---- processes ------------------------------------------------------------------------ */

/* The process's state and start time (proc(5), /proc/PID/stat, fields 3 and 22); false: not to be had. */
static bool process_stat(int pid, char *state, int64_t *since)
{
    char path[40], text[1024];
    const char *p;
    ssize_t n;
    int fd, field = 3;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    if (n <= 0) return false;
    text[n] = '\0';
    p = strrchr(text, ')');              /* the name before it may hold anything */
    if (p == NULL || p[1] == '\0') return false;
    *state = p[2];
    for (p += 2; *p != '\0' && field < 22; p++) field += *p == ' ';
    *since = strtoll(p, NULL, 10);
    return field == 22;
}

static bool process_gone(int pid, int64_t since)
{
    int64_t began;
    char state;

    if (kill(pid, 0) != 0 && errno == ESRCH) return true;
    return process_stat(pid, &state, &began) && (began != since || state == 'Z');
}

static void describe_self(this_node *n)
{
    char boot[48] = "", space[64] = "", host[64] = "", state;
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, boot, sizeof boot - 1);

    if (fd >= 0) (void)close(fd);
    boot[got < 0 ? 0 : got] = '\0';
    boot[strcspn(boot, "\n")] = '\0';
    got = readlink("/proc/self/ns/pid", space, sizeof space - 1);
    space[got < 0 ? 0 : got] = '\0';
    if (gethostname(host, sizeof host - 1) != 0) host[0] = '\0';
    n->self.pid = (int)getpid();
    (void)snprintf(n->name, sizeof n->name, "%s:%d", host, n->self.pid);
    (void)snprintf(n->host, sizeof n->host, "%s %s", boot, space);
    /* Without these a pid says nothing: then nobody is its neighbour. */
    if (boot[0] == '\0' || space[0] == '\0' || !process_stat(n->self.pid, &state, &n->self.since))
        (void)snprintf(n->host, sizeof n->host, "%s", id_new(ID_NODE).text);
    n->self.name = slice_of(n->name);
    n->self.host = slice_of(n->host);
}

/* ---- joining ----------------------------------------------------------------------------- */

static bool useless(this_node *n, err e, const char *event, const err_info *why)
{
    if (e == ERR_CLOSED) return true;
    if (e == ERR_STORE) log_line(LOG_WARN, event, log_why(why), log_word("then", "tried again"));
    return e != ERR_OK || n->e->closing;
}

static void on_joined(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    this_node *n = arg;

    (void)results; (void)count; (void)sqlstate;
    if (n->state != NODE_JOINING) return;
    n->state = NODE_OUT;
    if (useless(n, e, "node.not_joined", why)) return;
    n->state = NODE_IN;
    n->e->send_until_ms = n->asked_ms + LEASE_MS - MARGIN_MS;
    log_line(LOG_INFO, "node.joined", log_id("nodeId", id_slice(&n->node_id)), log_id("name", n->self.name));
    engine_joined(n->e, &n->node_id, !n->joined_once);
    n->joined_once = true;
    deliver_hold(n->e->deliveries, false);
    node_soon(n);
}

void node_begin(this_node *n)
{
    if (n->state != NODE_OUT || n->e->closing) return;
    n->state = NODE_JOINING;
    n->node_id = id_new(ID_NODE);
    n->asked_ms = clock_boot_ms();
    nodes_join(n->e->feed, id_slice(&n->node_id), &n->self, LEASE_MS, on_joined, n);
}

/* Others took this node for dead, or an operator did: all that it runs is theirs. */
static void fenced(this_node *n)
{
    log_line(LOG_WARN, "node.fenced", log_id("nodeId", id_slice(&n->node_id)),
             log_word("means", "it did not renew its leases in time: others run its connectors; it joins again"));
    n->state = NODE_OUT;
    n->taking = false;
    (void)uv_timer_stop(&n->look);
    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        c->taken = 0;
        c->told_to_take = c->take_again = c->leaving = false;
        connector_lose(c);
    }
    if (n->e->relay != NULL) relay_share(n->e->relay, NULL, 0);
    node_begin(n);
}

/* ---- taking --------------------------------------------------------------------------------- */

static void on_earlier(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why);

static void look_again(uv_timer_t *t)
{
    this_node *n = container_of(t, this_node, look);
    nodes_earlier_writers(n->e->feed, n->moment[0] == '\0' ? SLICE_NONE : slice_of(n->moment), on_earlier, n);
}

static void on_fenced(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    (void)arg; (void)count; (void)sqlstate;
    if (e == ERR_STORE) log_line(LOG_WARN, "node.fence_failed", log_why(why));
    if (e == ERR_OK && pg_rows(&results[0]) > 0)
        log_line(LOG_WARN, "node.fences", log_int("connections", pg_rows(&results[0])),
                 log_word("means", "connections of a node that is gone did not end: they were closed"));
}

/* Who stored or recorded under the leases of before is done? Then what was taken is run. */
static void on_earlier(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    this_node *n = arg;

    (void)count; (void)sqlstate;
    if (e == ERR_CLOSED || n->state != NODE_IN || !n->taking || n->e->closing) return;
    if (e == ERR_STORE) log_line(LOG_WARN, "node.take_waits", log_why(why));
    if (e == ERR_OK) (void)slice_cstr(pg_cell(&results[0], 0, 0), n->moment, sizeof n->moment);
    if (e != ERR_OK || pg_cell_int(&results[0], 0, 1) > 0) {
        if (++n->looks % FENCE_AFTER == 0 && n->moment[0] != '\0') nodes_fence(n->e->feed, slice_of(n->moment), on_fenced, n);
        (void)uv_timer_start(&n->look, look_again, LOOK_MS, 0);
        return;
    }
    n->taking = false;
    failpoint("node.taken");
    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        if (c->taken != 0 && !c->closing) connector_own(c, c->taken);
        c->taken = 0;
    }
    node_soon(n);                        /* there may be more to take */
}

static void on_taken(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    this_node *n = arg;

    (void)count; (void)sqlstate;
    if (n->state != NODE_IN || !n->taking) return;
    n->taking = false;
    if (useless(n, e, "node.not_taken", why)) return;    /* perhaps it was: take_again holds */
    for (int i = 0; i < pg_rows(&results[0]); i++) {
        connector *c = connector_find(n->e, pg_cell(&results[0], i, 0));
        if (c == NULL) continue;
        c->taken = pg_cell_int(&results[0], i, 1);
        n->taking = true;
    }
    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        if (c->taking) c->told_to_take = c->take_again = false;
    }
    if (!n->taking) return;
    n->moment[0] = '\0';
    n->looks = 0;
    look_again(&n->look);
}

static void take(this_node *n)
{
    slice ids[TAKE_AT_ONCE];
    size_t count = 0;

    if (n->taking) return;
    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        c->taking = (c->told_to_take || c->take_again) && c->epoch == 0 && !c->leaving && !c->closing && !connector_busy(c) &&
                    count < TAKE_AT_ONCE;
        if (!c->taking) continue;
        c->take_again = true;            /* until the answer is there */
        ids[count++] = id_slice(&c->connector_id);
    }
    if (count == 0) return;
    failpoint("node.before_take");
    n->taking = true;
    nodes_take(n->e->feed, id_slice(&n->node_id), ids, count, on_taken, n);
}

/* ---- giving up -------------------------------------------------------------------------------- */

static void on_released(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    this_node *n = arg;

    (void)results; (void)count; (void)sqlstate;
    (void)useless(n, e, "node.not_released", why);       /* the next beat says so again, */
    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        if (!c->releasing) continue;
        c->releasing = false;
        c->taken = 0;                    /* a take that was answered meanwhile came before */
        if (e != ERR_OK) c->holds = true;        /* or that it is to stay */
    }
}

/* What another node is to have ends what it began; what has not ended in time is left to that one. */
static void give_up(this_node *n)
{
    slice ids[TAKE_AT_ONCE];
    size_t count = 0;

    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        if (!c->leaving) continue;
        if (c->epoch != 0 && (!connector_working(c) || clock_boot_ms() > c->leave_by_ms)) {
            connector_lose(c);
            c->holds = true;             /* until it is released */
        }
        if (c->epoch != 0 || connector_busy(c) || count == TAKE_AT_ONCE) continue;
        c->holds = c->take_again = false;
        c->releasing = true;
        c->taken = 0;
        ids[count++] = id_slice(&c->connector_id);
    }
    if (count > 0) nodes_release(n->e->feed, id_slice(&n->node_id), ids, count, on_released, n);
}

/* ---- renewing ---------------------------------------------------------------------------------- */

static void follow_changes(this_node *n, const pg_result *r)
{
    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        c->told_to_leave = c->told_to_take = false;
    }
    for (int i = 0; i < pg_rows(r); i++) {
        connector *c = connector_find(n->e, pg_cell(r, i, CHANGE_CONNECTOR));
        if (c == NULL || c->closing) continue;
        if (pg_cell_bool(r, i, CHANGE_TAKE)) c->told_to_take = true;
        else c->told_to_leave = true;
    }
    list_each(l, &n->e->connector_list) {
        connector *c = container_of(l, connector, link);
        if (c->told_to_leave && !c->leaving) {
            c->leave_by_ms = clock_boot_ms() + LEAVE_MS;
        } else if (!c->told_to_leave && c->leaving && c->holds) {        /* it is to stay: with another lease */
            connector_lose(c);
            c->take_again = c->holds = true;
        }
        c->leaving = c->told_to_leave;
    }
}

static void on_left(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    this_node *n = arg;

    (void)results; (void)count; (void)sqlstate;
    if (!useless(n, e, "node.not_removed", why)) node_soon(n);
}

static void bury_neighbours(this_node *n, const pg_result *r)
{
    for (int i = 0; i < pg_rows(r); i++) {
        int pid = (int)pg_cell_int(r, i, NEIGHBOUR_PID);
        int64_t since = pg_cell_int(r, i, NEIGHBOUR_SINCE);
        bool former = pid == n->self.pid && since == n->self.since;      /* of this process: it joined and did not hear so */
        if (!former && !process_gone(pid, since)) continue;
        if (!former) log_line(LOG_WARN, "node.gone", log_id("nodeId", pg_cell(r, i, NEIGHBOUR_ID)),
                 log_word("means", "its process ended without a word; its connectors are taken over"));
        nodes_leave(n->e->feed, pg_cell(r, i, NEIGHBOUR_ID), on_left, n);
    }
}

static void on_beat(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    this_node *n = arg;
    int slices[NODE_SLICES], slice_count = 0;

    (void)count; (void)sqlstate;
    n->beating = false;
    if (useless(n, e, "node.not_renewed", why) || n->state != NODE_IN) return;
    if (!pg_cell_bool(&results[BEAT_ALIVE], 0, 0)) { fenced(n); return; }
    failpoint("node.renewed");
    n->e->send_until_ms = n->asked_ms + LEASE_MS - MARGIN_MS;
    deliver_hold(n->e->deliveries, false);
    bury_neighbours(n, &results[BEAT_NEIGHBOURS]);
    follow_changes(n, &results[BEAT_CHANGES]);
    for (int i = 0; i < pg_rows(&results[BEAT_SLICES]) && slice_count < NODE_SLICES; i++)
        slices[slice_count++] = (int)pg_cell_int(&results[BEAT_SLICES], i, 0);
    if (n->e->relay != NULL) relay_share(n->e->relay, slices, slice_count);
    ingest_among(n->e->in, (unsigned)pg_cell_int(&results[BEAT_NODES], 0, 0));
    take(n);
    give_up(n);
    if (n->again) node_soon(n);
}

void node_soon(this_node *n)
{
    n->again = n->beating;
    if (n->beating || n->state != NODE_IN || n->e->closing || !n->e->loaded) return;
    failpoint("node.before_beat");
    n->beating = true;
    n->asked_ms = clock_boot_ms();
    nodes_beat(n->e->feed, id_slice(&n->node_id), n->self.host, LEASE_MS, GRACE_MS, on_beat, n);
}

void node_tick(this_node *n)
{
    if (n->state != NODE_IN) return;
    if (!engine_may_send(n->e)) deliver_hold(n->e->deliveries, true);
    node_soon(n);
}

void node_lost(this_node *n, connector *c)
{
    connector_lose(c);
    if (n->state == NODE_IN) node_soon(n);
}

/* ---- questions ------------------------------------------------------------------------------------ */

const char *node_name(const this_node *n) { return n->state == NODE_IN ? n->node_id.text : NULL; }

/* ---- life -------------------------------------------------------------------------------------------- */

this_node *node_new(engine *e)
{
    this_node *n = mem_zalloc(sizeof *n);

    n->e = e;
    describe_self(n);
    if (uv_timer_init(e->loop, &n->look) != 0) die("uv_timer_init failed");
    return n;
}

static void on_ended(void *arg, err e, const pg_result *results, int count, const char *sqlstate, const err_info *why)
{
    this_node *n = arg;

    (void)results; (void)count; (void)sqlstate; (void)why;
    if (e == ERR_OK) log_line(LOG_INFO, "node.left", log_id("nodeId", id_slice(&n->node_id)));
    n->done(n->arg);
}

void node_end(this_node *n, void (*done)(void *arg), void *arg)
{
    bool in = n->state == NODE_IN && pg_is_ready(n->e->feed);

    (void)uv_timer_stop(&n->look);
    n->state = NODE_LEAVING;
    n->done = done;
    n->arg = arg;
    if (in) nodes_leave(n->e->feed, id_slice(&n->node_id), on_ended, n);
    else done(arg);
}

static void on_look_closed(uv_handle_t *h)
{
    this_node *n = container_of((uv_timer_t *)h, this_node, look);
    void (*done)(void *) = n->done;
    void *arg = n->arg;

    free(n);
    done(arg);
}

void node_free(this_node *n, void (*done)(void *arg), void *arg)
{
    n->done = done;
    n->arg = arg;
    uv_close((uv_handle_t *)&n->look, on_look_closed);
}

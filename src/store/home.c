/* store/home.c -- the homes of this process, one for each URL. */
#include "store/home.h"

#include "base/clock.h"

enum { RECENT_MS = 1500 };

struct home {                            /* kept until the process ends */
    home   *next;
    char   *url;
    char    at[CONNINFO_AT];             /* the server of the one that connected last; "": none yet */
    list    members;
    size_t  further;                     /* how many addresses behind it an attempt begins, since they are silent */
};

void home_join(home_member *m, const char *url)
{
    static home *homes;
    home *h = homes;

    while (h != NULL && strcmp(h->url, url) != 0) h = h->next;
    if (h == NULL) {
        h = mem_zalloc(sizeof *h);
        h->url = mem_dup(slice_of(url));
        list_init(&h->members);
        h->next = homes;
        homes = h;
    }
    m->of = h;
    list_push(&h->members, &m->link);
}

void home_leave(home_member *m)
{
    list_remove(&m->link);
    m->there = false;
}

/* Does the server where they are answer one of them? */
static bool is_held(const home *h)
{
    for (const list *l = h->members.next; l != &h->members; l = l->next) {
        const home_member *m = container_of((list *)l, home_member, link);
        if (m->there && strcmp(m->at, h->at) == 0 && (clock_ns() - m->heard_ns) / 1000000 < RECENT_MS) return true;
    }
    return false;
}

size_t home_begin(home_member *m, const conninfo *i)
{
    m->there = false;
    m->further = m->of->further;
    return conninfo_number(i, m->of->at) + m->further;
}

void home_silent(home_member *m)
{
    if (m->further == m->of->further && !is_held(m->of)) m->of->further++;       /* once for all that tried together */
}

bool home_settle(home_member *m, const PGconn *conn)
{
    home *h = m->of;

    conninfo_at(conn, m->at);
    if (strcmp(m->at, h->at) != 0 && is_held(h)) return false;
    memcpy(h->at, m->at, sizeof m->at);
    h->further = 0;
    m->heard_ns = clock_ns();
    m->there = true;
    return true;
}

bool home_moved(const home_member *m) { return m->there && strcmp(m->at, m->of->at) != 0; }

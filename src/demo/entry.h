/* demo/entry.h -- writes, as the store's function `write` takes them: one entry, or a whole
 * transaction in one call. */
#ifndef DEMO_ENTRY_H
#define DEMO_ENTRY_H

#include "base/hash.h"
#include "demo/interaction.h"

typedef struct demo_write {
    const demo_scope *scope;
    buf       entries;                   /* JSON */
    pg_array  locks;
    int       count;
    map       urls;                      /* fullUrl -> entry, for references inside of a Bundle */
    bool      links;                     /* it is a transaction: references are resolved */
} demo_write;

void demo_write_begin(demo_write *w, const demo_scope *scope, bool links);

/* Tells which entry (from 1, in the order of demo_write_add) a fullUrl stands for, before anything is
 * added. False when two have the same. */
must_check bool demo_write_name(demo_write *w, slice full_url, int entry);

/* Adds a prepared create, update or delete; false: answered, a reference cannot be resolved. */
must_check bool demo_write_add(demo_write *w, const demo_interaction *ix, demo_answer *answer);

/* The call; ends the building. */
demo_call demo_write_call(demo_write *w, bool body);

/* Frees what is not in the scope's arena; also after demo_write_call. */
void demo_write_free(demo_write *w);

/* 0: all well; otherwise the entry (from 1) that made the store refuse, with its answer. */
int demo_write_refused(const demo_scope *scope, const pg_result *result, demo_answer *answer);
/* The answer to the entry in that row. */
void demo_write_answer(const demo_scope *scope, const pg_result *result, int row, demo_answer *answer);

#endif

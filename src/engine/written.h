/* engine/written.h -- what we wrote last, so that an update needs no reading first: a
 * bounded cache by (connector, service, what finds the resource). */
#ifndef ENGINE_WRITTEN_H
#define ENGINE_WRITTEN_H

#include "base/arena.h"
#include "base/hash.h"

typedef struct written {
    map  by_key;
    list used;                           /* newest first */
    size_t held, most;                   /* bytes */
} written;

typedef struct written_item {
    slice resource_id, version;          /* version: of its ETag */
    slice text;                          /* the resource as we sent it */
} written_item;

void written_init(written *w, size_t most);
void written_free(written *w);

/* False when it is not known. Slices are valid until the next change. */
must_check bool written_find(written *w, slice connector, slice url, slice type, slice criteria, written_item *out);
void written_put(written *w, slice connector, slice url, slice type, slice criteria, const written_item *item);
void written_forget(written *w, slice connector, slice url, slice type, slice criteria);

#endif

/* store/packs.h -- script_packs: archives by the digest of their content. */
#ifndef STORE_PACKS_H
#define STORE_PACKS_H

#include "store/rows.h"

typedef struct pack_row {
    slice   tenant_id, digest, name, version;
    int64_t bytes;                       /* of the archive */
    slice   connectors;                  /* JSON array: names of those that run it */
    slice   created_at;
} pack_row;

void pack_json(buf *out, const pack_row *p);

/* Stores an archive unless the tenant has it; `*added` tells which. Event:
 * pack.pushed, when it was added. */
must_check err packs_push(db *d, slice tenant, slice digest, slice name, slice version, slice archive,
                          bool *added, err_info *why);

/* The tenant's packs, newest first. */
must_check err packs_list(db *d, arena *mem, pack_row **out, size_t *count, err_info *why);

/* The archive of one of them; ERR_NOT_FOUND. */
must_check err packs_archive(db *d, arena *mem, slice digest, slice *out, err_info *why);

#endif

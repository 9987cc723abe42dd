/* script/pack_inside.h -- what a state needs to know of its pack. */
#ifndef SCRIPT_PACK_INSIDE_H
#define SCRIPT_PACK_INSIDE_H

#include <stdatomic.h>

#include "script/code_table.h"
#include "script/pack.h"

/* The packs in the archive, in the order in which they are searched: the pack
 * itself, what it uses, what those use; last the library's tables. */
size_t pack_layer_count(const pack *p);
const code_table_set *pack_layer_tables(const pack *p, size_t layer);

typedef struct compiled { size_t len; char bytes[]; } compiled;

typedef struct pack_entry {
    slice               path, text;      /* both end with NUL */
    _Atomic(compiled *) code;            /* of a module, as lua_dump wrote it; NULL: not yet */
} pack_entry;

/* The file of a module: in the pack, in the packs that it uses, in the library.
 * NULL when there is none. */
pack_entry *pack_module(const pack *p, slice name);

/* Keeps a copy of what its text was compiled to, for the next state that loads it. Any thread. */
void pack_entry_compiled(pack_entry *f, slice code);

typedef struct pack_handler {
    slice pattern;                       /* "ADT^A01", "ADT^*", "ADT", "*" */
    slice module;
} pack_handler;

/* All handlers, those of the pack first. */
size_t pack_handler_count(const pack *p);
const pack_handler *pack_handler_at(const pack *p, size_t i);

/* The handler for a message type: of the first layer that has one the most
 * specific. SIZE_MAX when there is none. */
size_t pack_handler_find(const pack *p, slice type);

/* Checks settings against the schemas of all layers and adds the defaults; the
 * result is in `mem`. ERR_CONFIG names the setting. */
must_check err pack_settings(const pack *p, arena *mem, slice given, json **out, err_info *why);

#endif

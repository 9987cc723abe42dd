/* script/pack.h -- a pack: plain files, known by the digest of their content.
 *
 * An archive is one JSON object of path to text, keys sorted by bytes, compact:
 * {"lib/v2.lua":"…","pack.lua":"…","oru.lua":"…","tables/loinc.csv":"…"}. The
 * library that the pack uses is in it, under `lib/`, and packs that it builds on under
 * `packs/NAME/`, so that its digest covers all that decides its result. */
#ifndef SCRIPT_PACK_H
#define SCRIPT_PACK_H

#include "base/json.h"

typedef struct pack pack;                /* immutable, counted; any thread */

/* Reads the archive and its manifest `pack.lua` (run in the sandbox):
 *
 *   return { name = "lab-west", version = "1.2.0", uses = { "v2-to-fhir" },
 *            handlers = { ["ORU^R01"] = "oru", ["ADT"] = "adt", ["*"] = "rest" },
 *            settings = { facility = { type = "string", default = "WEST" } } }
 *
 * A setting's type is string, integer, number, boolean, list or table; `required`
 * and `help` may stand beside. ERR_SCRIPT with file and line when the pack cannot
 * be used. `digest` is the SHA-256 of the archive in hex, and is checked; NULL:
 * computed. */
must_check err pack_open(slice archive, const char *digest, pack **out, err_info *why);
pack *pack_keep(pack *p);
void pack_drop(pack *p);                 /* NULL allowed */

slice pack_name(const pack *p);
slice pack_version(const pack *p);
const char *pack_digest(const pack *p);
slice pack_archive(const pack *p);
slice pack_file(const pack *p, const char *path);        /* SLICE_NONE when it has none */

/* The names in a manifest's `uses`, for who gathers the files. */
must_check err pack_uses(arena *mem, slice pack_lua, slice **uses, size_t *count, err_info *why);

/* Builds an archive from files; `add` in any order. The text is in `mem`. */
typedef struct pack_builder pack_builder;
pack_builder *pack_builder_new(arena *mem);
void pack_builder_add(pack_builder *b, slice path, slice text);
slice pack_builder_archive(pack_builder *b);

#endif

/* engine/pack_folder.h -- a pack's folder on disk, gathered into an archive. */
#ifndef ENGINE_PACK_FOLDER_H
#define ENGINE_PACK_FOLDER_H

#include "base/arena.h"

#define PACK_FILE_MAX ((size_t)1 << 20)
#define PACK_TOTAL_MAX ((size_t)16 << 20)

/* The archive (script/pack.h) of the pack in `folder`: its *.lua, except below
 * tests/, and the CSV files in tables/; the library of `lua_dir`; and the packs that it uses,
 * from `lua_dir`/packs/NAME, else from beside the folder. A link that leads out of
 * its folder, text that is not UTF-8 and sizes beyond the two limits are errors;
 * `why` names the file. */
must_check err pack_folder_read(arena *mem, const char *folder, const char *lua_dir, slice *archive,
                                err_info *why);

/* Where the library and the stock packs are: $INTEROP_LUA; ../../lua beside the
 * executable, as in the build tree; ../share/interop/lua, as installed. */
must_check err pack_folder_lua_dir(arena *mem, const char **out, err_info *why);

#endif

/* engine/pack_folder.c -- gathers the files of a pack, of the library and of the
 * packs that it builds on. */
#include "engine/pack_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/json.h"
#include "script/pack.h"

#define DEPTH_MAX 8
#define PACKS_MAX 16

typedef struct gather {
    arena        *mem;
    pack_builder *builder;
    const char   *lua_dir;
    const char   *root;                  /* of the pack being gathered, resolved */
    slice         prefix;                /* in the archive */
    size_t        total;
    slice         packs[PACKS_MAX];      /* gathered, or being gathered */
    size_t        pack_count;
} gather;

static err failed(err_info *why, const char *path)
{
    return err_set(why, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s: %s", path, strerror(errno));
}

static const char *join(arena *mem, const char *folder, const char *name)
{
    return arena_printf(mem, "%s/%s", folder, name).ptr;
}

/* The real path of `path`, which has to lie within the pack's own folder. */
static err resolve(gather *g, const char *path, const char **out, err_info *why)
{
    char *real = realpath(path, NULL);
    size_t n = strlen(g->root);

    if (real == NULL) return failed(why, path);
    bool inside = strncmp(real, g->root, n) == 0 && real[n] == '/';
    *out = arena_dup(g->mem, slice_of(real)).ptr;
    free(real);
    return inside ? ERR_OK : err_set(why, ERR_REFUSED, "%s: a link that leaves the pack's folder", path);
}

static err read_whole(gather *g, int fd, const char *path, slice *out, err_info *why)
{
    struct stat st;
    size_t len = 0, room;
    ssize_t n;

    if (fstat(fd, &st) != 0) return failed(why, path);
    if (!S_ISREG(st.st_mode)) return err_set(why, ERR_IO, "%s: no regular file", path);
    if (st.st_size > (off_t)PACK_FILE_MAX)
        return err_set(why, ERR_LIMIT, "%s: larger than %zu KiB", path, PACK_FILE_MAX >> 10);
    room = (size_t)st.st_size;
    char *text = arena_alloc(g->mem, room + 1);
    while (len < room && (n = read(fd, text + len, room - len)) != 0) {
        if (n < 0 && errno != EINTR) return failed(why, path);
        if (n > 0) len += (size_t)n;
    }
    *out = (slice){ text, len };
    return ERR_OK;
}

static err add_file(gather *g, const char *path, slice name, err_info *why)
{
    const char *real = NULL;
    slice text;

    err e = resolve(g, path, &real, why);
    if (e != ERR_OK) return e;
    int fd = open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return failed(why, path);
    e = read_whole(g, fd, path, &text, why);
    (void)close(fd);
    if (e != ERR_OK) return e;
    size_t valid = utf8_valid(text);
    if (valid < text.len || memchr(text.ptr, '\0', text.len) != NULL)
        return err_set(why, ERR_CHARSET, "%s: not UTF-8 text (byte %zu)", path,
                       (valid < text.len ? valid : strlen(text.ptr)) + 1);
    g->total += text.len;
    if (g->total > PACK_TOTAL_MAX)
        return err_set(why, ERR_LIMIT, "%s: with it the pack has more than %zu MiB", path,
                       PACK_TOTAL_MAX >> 20);
    pack_builder_add(g->builder, arena_printf(g->mem, "%.*s%.*s", (int)g->prefix.len, g->prefix.ptr,
                                              (int)name.len, name.ptr), text);
    return ERR_OK;
}

static bool ends_with(slice s, const char *end)
{
    slice e = slice_of(end);
    return s.len > e.len && slice_eq(slice_from(s, s.len - e.len), e);
}

/* `name` is the path within the pack. */
static bool is_wanted(slice name)
{
    if (ends_with(name, ".lua")) return true;
    slice rest = slice_from(name, 7);
    return slice_starts(name, slice_lit("tables/")) && ends_with(name, ".csv") &&
           memchr(rest.ptr, '/', rest.len) == NULL;
}

static err add_folder(gather *g, const char *folder, slice within, int depth, err_info *why);

static err add_entry(gather *g, const char *folder, slice within, const char *name, int depth,
                     err_info *why)
{
    const char *path = join(g->mem, folder, name);
    slice inner = within.len == 0 ? arena_dup(g->mem, slice_of(name))
                                  : arena_printf(g->mem, "%s/%s", within.ptr, name);
    struct stat st;

    if (lstat(path, &st) != 0) return failed(why, path);
    if (S_ISDIR(st.st_mode)) {
        if (depth == 0 && strcmp(name, "tests") == 0) return ERR_OK;
        if (depth == 0 && g->prefix.len == 0 && (strcmp(name, "lib") == 0 || strcmp(name, "packs") == 0))
            return err_set(why, ERR_REFUSED, "%s: these names are the library's and the base packs'", path);
        return add_folder(g, path, inner, depth + 1, why);
    }
    if (!is_wanted(inner)) return ERR_OK;
    return add_file(g, path, inner, why);
}

static err add_folder(gather *g, const char *folder, slice within, int depth, err_info *why)
{
    struct dirent *entry;
    err e = ERR_OK;

    if (depth > DEPTH_MAX) return err_set(why, ERR_LIMIT, "%s: folders within folders too deep", folder);
    DIR *dir = opendir(folder);
    if (dir == NULL) return failed(why, folder);
    while (e == ERR_OK && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] != '.') e = add_entry(g, folder, within, entry->d_name, depth, why);
    (void)closedir(dir);
    return e;
}

static err enter(gather *g, const char *folder, slice prefix, err_info *why)
{
    char *real = realpath(folder, NULL);

    if (real == NULL) return failed(why, folder);
    g->root = arena_dup(g->mem, slice_of(real)).ptr;
    free(real);
    g->prefix = prefix;
    return add_folder(g, g->root, SLICE_NONE, 0, why);
}

/* ---- packs that it uses ------------------------------------------------------------------ */

static err add_pack(gather *g, const char *folder, slice prefix, err_info *why);

static bool is_gathered(const gather *g, slice name)
{
    for (size_t i = 0; i < g->pack_count; i++)
        if (slice_eq(g->packs[i], name)) return true;
    return false;
}

static err add_used(gather *g, const char *folder, slice name, err_info *why)
{
    const char *stock = arena_printf(g->mem, "%s/packs/%.*s", g->lua_dir, (int)name.len, name.ptr).ptr;
    const char *beside = arena_printf(g->mem, "%s/../%.*s", folder, (int)name.len, name.ptr).ptr;
    const char *found = NULL;

    if (access(join(g->mem, stock, "pack.lua"), R_OK) == 0) found = stock;
    else if (access(join(g->mem, beside, "pack.lua"), R_OK) == 0) found = beside;
    if (found == NULL)
        return err_set(why, ERR_NOT_FOUND, "%s uses '%.*s', which is neither in %s/packs nor beside it", folder,
                       (int)name.len, name.ptr, g->lua_dir);
    if (g->pack_count == PACKS_MAX) return err_set(why, ERR_LIMIT, "%s: uses too many packs", folder);
    g->packs[g->pack_count++] = name;
    return add_pack(g, found, arena_printf(g->mem, "packs/%.*s/", (int)name.len, name.ptr), why);
}

static err add_pack(gather *g, const char *folder, slice prefix, err_info *why)
{
    const char *file = join(g->mem, folder, "pack.lua");
    slice text = SLICE_NONE, *uses = NULL;
    size_t count = 0;

    err e = enter(g, folder, prefix, why);
    if (e != ERR_OK) return e;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return failed(why, file);
    e = read_whole(g, fd, file, &text, why);
    (void)close(fd);
    if (e != ERR_OK) return e;
    if ((e = pack_uses(g->mem, text, &uses, &count, why)) != ERR_OK) return err_prefix(why, "%s", folder);
    for (size_t i = 0; i < count && e == ERR_OK; i++)
        if (!is_gathered(g, uses[i])) e = add_used(g, folder, uses[i], why);
    return e;
}

err pack_folder_read(arena *mem, const char *folder, const char *lua_dir, slice *archive, err_info *why)
{
    gather g = { .mem = mem, .builder = pack_builder_new(mem), .lua_dir = lua_dir };

    err e = enter(&g, join(mem, lua_dir, "lib"), slice_lit("lib/"), why);
    if (e == ERR_OK) e = add_pack(&g, folder, slice_lit(""), why);
    if (e != ERR_OK) return e;
    *archive = pack_builder_archive(g.builder);
    return ERR_OK;
}

err pack_folder_lua_dir(arena *mem, const char **out, err_info *why)
{
    static const char *const beside[] = { "../../lua", "../share/interop/lua" };
    const char *named = getenv("INTEROP_LUA");
    char exe[PATH_MAX];

    if (named != NULL && named[0] != '\0') {
        *out = named;
        if (access(join(mem, named, "lib"), R_OK) == 0) return ERR_OK;
        return err_set(why, ERR_CONFIG, "INTEROP_LUA: no folder %s/lib", named);
    }
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n <= 0) return err_set(why, ERR_IO, "/proc/self/exe: %s", strerror(errno));
    exe[n] = '\0';
    *strrchr(exe, '/') = '\0';
    for (size_t i = 0; i < countof(beside); i++) {
        *out = join(mem, exe, beside[i]);
        if (access(join(mem, *out, "lib"), R_OK) == 0) return ERR_OK;
    }
    return err_set(why, ERR_CONFIG, "no Lua library beside %s: set INTEROP_LUA to the folder lua", exe);
}

/* script/manifest.h -- pack.lua, read and checked. */
#ifndef SCRIPT_MANIFEST_H
#define SCRIPT_MANIFEST_H

#include "base/json.h"

typedef struct manifest_handler { slice pattern, module; } manifest_handler;

typedef struct manifest {
    slice             name, version;
    slice            *uses;
    size_t            use_count;
    manifest_handler *handlers;
    size_t            handler_count;
    const json       *settings;          /* schema by name; NULL: none */
} manifest;

/* Runs the manifest's text in a sandbox of its own. `path` is for errors. */
must_check err manifest_read(arena *mem, slice path, slice text, manifest *out, err_info *why);

/* Checks one setting's value against its schema; ERR_CONFIG says what is wrong. */
must_check err manifest_check_setting(const json *schema, const json *value, err_info *why);

#endif

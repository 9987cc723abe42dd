/* script/segment.h -- what lib_msg.c and lib_segment.c share. */
#ifndef SCRIPT_SEGMENT_H
#define SCRIPT_SEGMENT_H

#include "script/value.h"

void segment_open(lua_State *L);                                  /* [-0, +0, m] */

/* The path at `index`, parsed once; raises when it is none. May push one value. */
const hl7_path *path_check(lua_State *L, int index);              /* "PID-3.1" */
const hl7_path *path_check_field(lua_State *L, int index);        /* "3.1" */

/* The one value that a path means to a person: the first of what it leaves out. */
hl7_path path_leaf(lua_State *L, int index, const hl7_path *path);

#endif

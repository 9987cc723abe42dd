/* script/value.h -- the box of a field's value, for the two files that make them. */
#ifndef SCRIPT_VALUE_H
#define SCRIPT_VALUE_H

#include "script/state.h"

typedef enum value_level { VALUE_FIELD, VALUE_REPETITION, VALUE_COMPONENT } value_level;

typedef struct value_box {
    const hl7_msg *msg;
    slice          raw;
    uint64_t       generation;
    value_level    level;
    bool           opaque;               /* MSH-1 or MSH-2: not to be taken apart */
} value_box;

void value_push(lua_State *L, const hl7_msg *m, slice raw, value_level level, bool opaque);

/* Nothing, or nothing but separators. */
bool value_is_empty(const hl7_msg *m, slice raw);

/* Functions of `hl7`. */
int value_part(lua_State *L);
int text_clean(lua_State *L);
int text_code(lua_State *L);

#endif

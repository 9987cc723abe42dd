/* base/json.h -- JSON (RFC 8259) that keeps what other parsers lose: the text
 * of numbers (`1.10`), the order of keys, `[]` told from `{}`.
 *
 * Refuses bad UTF-8, lone surrogates, duplicate keys in one object, numbers
 * outside the grammar, control characters in strings, anything behind the
 * value, and nesting beyond `JSON_DEPTH`. Values live in the caller's arena;
 * text without escapes is borrowed from the input. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include "base/buf.h"

#define JSON_DEPTH 64

typedef enum json_type {
    JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT
} json_type;

typedef struct json {
    json_type    type;
    uint32_t     count;                  /* of children */
    slice        key;                    /* of a member, decoded */
    slice        text;                   /* a number as written, a string decoded */
    struct json *child, *last;           /* first and last of an array or object */
    struct json *next;                   /* sibling */
} json;

/* On malformed input ERR_JSON; `why` gives the byte offset and never the content.
 * ERR_LIMIT beyond 4 GiB. A node takes 64 bytes, so the tree of `[0,0,…]` is
 * 32 times its text: bound the text by what the tree may cost. */
must_check err json_parse(arena *mem, slice text, json **out, err_info *why);

/* The member `key` of an object; NULL when absent, or `v` is NULL or no object. */
json *json_get(const json *v, const char *key);

/* The string member `key`; SLICE_NONE when absent or no string. */
slice json_text(const json *v, const char *key);

bool json_is(const json *v, json_type type);

/* New values in `mem`; strings and keys are borrowed. */
json *json_new(arena *mem, json_type type);
json *json_string(arena *mem, slice text);
json *json_int(arena *mem, int64_t n);

/* Appends a child. json_set replaces an existing member in its place. A child
 * may belong to one parent only, and who builds nests no deeper than JSON_DEPTH:
 * what is written must parse again, and json_copy and json_write recurse. */
void json_push(json *array, json *child);
void json_set(json *object, slice key, json *value);
void json_remove(json *object, slice key);

/* A deep copy into `mem`, texts too. */
json *json_copy(arena *mem, const json *v);

/* Compact: no blanks, keys in their order, numbers as they were written. */
void json_write(buf *out, const json *v);

/* The length of the valid UTF-8 at the front of `s` (RFC 3629: no surrogates,
 * no overlong forms, at most U+10FFFF): s.len when all of it is valid. */
size_t utf8_valid(slice s);

#endif

/* demo/patch.c -- finds what a JSON Pointer (RFC 6901) means, and replaces it. */
#include "demo/patch.h"

#include "fhir/resource.h"

/* A place: the object or array, and the key or index in it. The whole document has no parent. */
typedef struct place {
    json   *parent;
    slice   key;
    size_t  index;                       /* of an array; its count: behind the last */
    json   *value;                       /* NULL: nothing is there */
} place;

static slice unescape(arena *mem, slice token)
{
    buf out = buf_in(mem);

    for (size_t i = 0; i < token.len; i++) {
        if (token.ptr[i] == '~' && i + 1 < token.len && token.ptr[i + 1] == '1') { buf_putc(&out, '/'); i++; }
        else if (token.ptr[i] == '~' && i + 1 < token.len && token.ptr[i + 1] == '0') { buf_putc(&out, '~'); i++; }
        else buf_putc(&out, token.ptr[i]);
    }
    return buf_slice(&out);
}

static json *at_index(const json *array, size_t index)
{
    json *c = array->child;

    while (c != NULL && index-- > 0) c = c->next;
    return c;
}

static bool step(arena *mem, json *parent, slice token, place *out)
{
    int64_t n;

    *out = (place){ .parent = parent, .key = unescape(mem, token) };
    if (parent->type == JSON_OBJECT) {
        for (json *m = parent->child; m != NULL; m = m->next) {
            if (slice_eq(m->key, out->key)) out->value = m;
        }
        return true;
    }
    if (parent->type != JSON_ARRAY) return false;
    if (slice_is(out->key, "-")) {
        out->index = parent->count;
        return true;
    }
    if (!slice_int(out->key, &n) || n < 0 || n > parent->count) return false;
    out->index = (size_t)n;
    out->value = at_index(parent, out->index);
    return true;
}

static bool find(arena *mem, json *document, slice pointer, place *out)
{
    slice rest = pointer;

    *out = (place){ .value = document };
    if (pointer.len == 0) return true;
    if (pointer.ptr[0] != '/') return false;
    rest = slice_from(rest, 1);
    while (rest.ptr != NULL) {
        slice token = slice_cut(rest, '/', &rest);
        if (out->value == NULL || !step(mem, out->value, token, out)) return false;
    }
    return true;
}

/* An array anew, with `value` (NULL: nothing) in front of the one at `index`, which is left out when
 * `replace`. */
static void splice(json *array, size_t index, bool replace, json *value)
{
    json *c = array->child;
    size_t n = array->count;

    array->child = array->last = NULL;
    array->count = 0;
    for (size_t i = 0; i <= n; i++) {
        json *next = c == NULL ? NULL : c->next;
        if (i == index && value != NULL) json_push(array, value);
        if (c != NULL && !(i == index && replace)) json_push(array, c);
        c = next;
    }
}

static bool put(place *p, json **document, bool replace, json *value)
{
    if (replace && p->value == NULL) return false;
    if (p->parent == NULL) *document = value;
    else if (p->parent->type == JSON_OBJECT) json_set(p->parent, p->key, value);
    else splice(p->parent, p->index, replace, value);
    return true;
}

static bool drop(place *p)
{
    if (p->value == NULL || p->parent == NULL) return false;
    if (p->parent->type == JSON_OBJECT) json_remove(p->parent, p->key);
    else splice(p->parent, p->index, true, NULL);
    return true;
}

/* True when it was applied. */
static bool apply(arena *mem, json **document, slice op, slice path, slice from, const json *value)
{
    place to, source;

    if (slice_is(op, "move") || slice_is(op, "copy")) {
        json *taken;
        if (!find(mem, *document, from, &source) || source.value == NULL) return false;
        /* Nothing can move into itself (RFC 6902, 4.4). */
        if (slice_is(op, "move") && path.len > from.len && slice_starts(path, from) && path.ptr[from.len] == '/')
            return false;
        taken = json_copy(mem, source.value);
        if (slice_is(op, "move") && !drop(&source)) return false;
        return find(mem, *document, path, &to) && put(&to, document, false, taken);
    }
    if (!find(mem, *document, path, &to)) return false;
    if (slice_is(op, "remove")) return drop(&to);
    if (slice_is(op, "test")) return to.value != NULL && fhir_same(to.value, value);
    return put(&to, document, slice_is(op, "replace"), json_copy(mem, value));
}

static bool known(slice op, bool *needs_value, bool *needs_from)
{
    *needs_value = slice_is(op, "add") || slice_is(op, "replace") || slice_is(op, "test");
    *needs_from = slice_is(op, "move") || slice_is(op, "copy");
    return *needs_value || *needs_from || slice_is(op, "remove");
}

err demo_patch(arena *mem, const json *held, const json *operations, json **out, err_info *why)
{
    unsigned n = 0;

    *out = json_copy(mem, held);
    if (!json_is(operations, JSON_ARRAY)) return err_set(why, ERR_FHIR, "a JSON Patch is an array of operations");
    for (const json *o = operations->child; o != NULL; o = o->next, n++) {
        slice op = json_text(o, "op"), path = json_text(o, "path"), from = json_text(o, "from");
        const json *value = json_get(o, "value");
        bool needs_value, needs_from;

        if (!known(op, &needs_value, &needs_from) || path.ptr == NULL || (needs_value && value == NULL) ||
            (needs_from && from.ptr == NULL))
            return err_set(why, ERR_FHIR, "operation %u is no operation of JSON Patch", n);
        if (!apply(mem, out, op, path, from, value))
            return err_set(why, ERR_CONFLICT, "operation %u cannot be applied: its path is not there, or the test "
                                              "failed", n);
    }
    return ERR_OK;
}

/* fhir/r4.h -- what FHIR R4 (4.0.1) says of its 146 resource types: their names,
 * their top-level elements, and which of these are required, repeat or are coded. */
#ifndef FHIR_R4_H
#define FHIR_R4_H

#include "base/base.h"

typedef enum r4_kind { R4_COMPLEX, R4_TEXT, R4_BOOLEAN, R4_NUMBER, R4_CHOICE } r4_kind;

typedef struct r4_type {
    const char *name;
    const char *elements;                /* see r4.c; read with r4_next */
} r4_type;

typedef struct r4_element {
    slice   name;                        /* of a choice without its "[x]": "value" */
    r4_kind kind;
    bool    many, required;
    slice   codes;                       /* "male|female|…"; SLICE_NONE: any */
} r4_element;

/* NULL when R4 has no such resource type. */
const r4_type *r4_type_find(slice name);

/* All of them, in the order of their names. */
extern const r4_type r4_types[];
extern const size_t r4_type_count;

/* Walks the elements of a type: `*rest` begins as slice_of(type->elements). The
 * elements that every resource has (id, meta, text, extension…) are not among them. */
must_check bool r4_next(slice *rest, r4_element *out);

/* The element that a member called `key` ("gender", "_gender", "valueQuantity") is
 * in a resource of this type; false when there is none. */
must_check bool r4_element_find(const r4_type *type, slice key, r4_element *out);

#endif

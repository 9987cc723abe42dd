/* tests/fuzz/fhir_resource.c -- any JSON as a FHIR resource: checked, walked, merged with itself; and any
 * text as the value of a search parameter. */
#include <stdlib.h>

#include "fhir/check.h"
#include "fhir/merge.h"
#include "fhir/resource.h"
#include "fhir/search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_reference(void *arg, slice element, json *reference)
{
    fhir_target target;

    (void)arg; (void)element;
    if (fhir_reference_parse(reference->text, &target) && (target.id.len == 0 || target.type.len == 0)) abort();
}

static void as_resource(arena *mem, json *v)
{
    err_info why;
    bool valid = fhir_check(v, &why) == ERR_OK, nulls = false, changed;

    if (valid && (fhir_type(v).len == 0 || v->type != JSON_OBJECT)) abort();
    if (!fhir_same(v, v)) abort();
    fhir_references(v, on_reference, NULL);
    (void)fhir_identifiers(mem, v);
    (void)fhir_categories(mem, v);
    (void)fhir_has_profile(v, slice_lit("http://p"));
    if (v->type != JSON_OBJECT) return;
    for (const json *m = v->child; m != NULL; m = m->next) {
        bool kept = slice_is(m->key, "resourceType") || slice_is(m->key, "id") || slice_is(m->key, "meta");
        nulls = nulls || (m->type == JSON_NULL && !kept);
    }
    (void)fhir_merge(mem, v, v, &changed);
    if (changed != nulls) abort();       /* what a resource says of itself changes nothing */
    (void)fhir_merge(mem, v, fhir_without_nulls(mem, v), &changed);
    if (changed && !nulls) abort();
}

static void as_search_value(arena *mem, slice text)
{
    fhir_search_token token;
    fhir_search_reference reference;
    fhir_span span;
    err_info why;
    slice value;

    while (fhir_search_next(&text, &value)) {
        if (fhir_search_token_parse(mem, value, &token, &why) == ERR_OK && token.code.len + token.system.len == 0) abort();
        if (fhir_search_reference_parse(mem, value, slice_lit("http://me/fhir"), SLICE_NONE, &reference, &why) == ERR_OK &&
            reference.id.len + reference.url.len == 0)
            abort();
        if (fhir_search_date_parse(value, &span, &why) == ERR_OK && span.from_us >= span.to_us) abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    slice text = { (const char *)data, size };
    arena mem = { 0 };
    err_info why;
    json *v;

    if (json_parse(&mem, text, &v, &why) == ERR_OK) as_resource(&mem, v);
    as_search_value(&mem, text);
    arena_free(&mem);
    return 0;
}

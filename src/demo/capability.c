/* demo/capability.c -- says what the demo can do, for every resource type of R4, and that it is a demo. */
#include "demo/capability.h"

#include "demo/index.h"
#include "fhir/r4.h"

static const char *kind_name(param_kind kind)
{
    switch (kind) {
    case PARAM_IDENTIFIER: case PARAM_CODING: case PARAM_CODE: return "token";
    case PARAM_URI:        return "uri";
    case PARAM_STRING:     return "string";
    case PARAM_DATE:       return "date";
    case PARAM_REFERENCE:  return "reference";
    }
    return "special";
}

static void put_params(buf *out, slice type)
{
    const demo_param *p;
    const char *last = "";
    size_t at = 0;

    buf_puts(out, "{\"name\":\"_id\",\"type\":\"token\"},{\"name\":\"_lastUpdated\",\"type\":\"date\"}");
    while ((p = demo_param_next(type, &at)) != NULL) {
        if (strcmp(p->name, last) == 0) continue;    /* rows of one parameter stand together */
        last = p->name;
        buf_printf(out, ",{\"name\":\"%s\",\"type\":\"%s\"}", p->name, kind_name(p->kind));
    }
}

static void put_codes(buf *out, const char *const *codes)
{
    buf_puts(out, "\"interaction\":[");
    for (int i = 0; codes[i] != NULL; i++) buf_printf(out, "%s{\"code\":\"%s\"}", i > 0 ? "," : "", codes[i]);
    buf_putc(out, ']');
}

slice demo_capability(arena *mem, slice base)
{
    static const char *const of_type[] = {
        "read", "vread", "update", "patch", "delete", "history-instance", "create", "search-type", NULL
    };
    static const char *const of_system[] = { "transaction", "batch", NULL };
    buf out = buf_in(mem);

    buf_puts(&out, "{\"resourceType\":\"CapabilityStatement\",\"status\":\"active\",\"experimental\":true,"
                   "\"date\":\"2026-01-01\",\"kind\":\"instance\",\"fhirVersion\":\"4.0.1\",\"format\":[\"json\"],"
                   "\"patchFormat\":[\"application/json-patch+json\"],"
                   "\"title\":\"Interop demo FHIR store\",\"description\":\"A small FHIR R4 store for trying out and "
                   "for tests. It is a demo: no authentication, no profiles, top-level checks only. Keep no "
                   "patients' data in it.\",\"software\":{\"name\":\"interop fhir-demo\",\"version\":\"" INTEROP_VERSION
                   "\"},\"implementation\":{\"description\":\"demo\",\"url\":");
    buf_json(&out, base);
    buf_puts(&out, "},\"rest\":[{\"mode\":\"server\",\"documentation\":\"Demo, for trying out and for tests\","
                   "\"resource\":[");
    for (size_t i = 0; i < r4_type_count; i++) {
        buf_printf(&out, "%s{\"type\":\"%s\",", i > 0 ? "," : "", r4_types[i].name);
        put_codes(&out, of_type);
        buf_puts(&out, ",\"versioning\":\"versioned-update\",\"readHistory\":true,\"updateCreate\":true,"
                       "\"conditionalCreate\":true,\"conditionalRead\":\"not-match\",\"conditionalUpdate\":true,"
                       "\"conditionalDelete\":\"single\",\"referencePolicy\":[\"literal\"],\"searchParam\":[");
        put_params(&out, slice_of(r4_types[i].name));
        buf_puts(&out, "]}");
    }
    buf_puts(&out, "],");
    put_codes(&out, of_system);
    buf_puts(&out, "}]}");
    return buf_slice(&out);
}

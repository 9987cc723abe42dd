/* fhir/outcome.c -- builds OperationOutcomes (R4 2.38), maps our errors to them. */
#include "fhir/outcome.h"

static json *text(arena *mem, const char *literal)
{
    return json_string(mem, slice_of(literal));
}

void fhir_outcome_add(arena *mem, json *outcome, fhir_severity severity, const char *code, slice said)
{
    static const char *const names[] = { "fatal", "error", "warning", "information" };
    json *issue = json_new(mem, JSON_OBJECT), *details = json_new(mem, JSON_OBJECT);

    json_set(details, slice_lit("text"), json_string(mem, said));
    json_set(issue, slice_lit("severity"), text(mem, names[severity]));
    json_set(issue, slice_lit("code"), text(mem, code));
    json_set(issue, slice_lit("details"), details);
    json_set(issue, slice_lit("diagnostics"), json_string(mem, said));
    json_push(json_get(outcome, "issue"), issue);
}

json *fhir_outcome(arena *mem, fhir_severity severity, const char *code, slice said)
{
    json *outcome = json_new(mem, JSON_OBJECT);

    json_set(outcome, slice_lit("resourceType"), text(mem, "OperationOutcome"));
    json_set(outcome, slice_lit("issue"), json_new(mem, JSON_ARRAY));
    fhir_outcome_add(mem, outcome, severity, code, said);
    return outcome;
}

static const struct { const char *code; int status; } issues[ERR_COUNT] = {
    [ERR_HL7]        = { "structure", 400 },
    [ERR_PATH]       = { "processing", 400 },
    [ERR_CHARSET]    = { "structure", 400 },
    [ERR_JSON]       = { "structure", 400 },
    [ERR_FHIR]       = { "invalid", 400 },
    [ERR_SCRIPT]     = { "processing", 500 },
    [ERR_BUDGET]     = { "too-costly", 500 },
    [ERR_REFUSED]    = { "business-rule", 422 },
    [ERR_CONFIG]     = { "exception", 500 },
    [ERR_USAGE]      = { "invalid", 400 },
    [ERR_LIMIT]      = { "too-long", 413 },
    [ERR_IO]         = { "exception", 500 },
    [ERR_NET]        = { "transient", 502 },
    [ERR_TLS]        = { "transient", 502 },
    [ERR_TIMEOUT]    = { "timeout", 504 },
    [ERR_EXPIRED]    = { "timeout", 504 },
    [ERR_STORE]      = { "exception", 500 },
    [ERR_STORE_LOST] = { "transient", 503 },
    [ERR_CONFLICT]   = { "conflict", 409 },
    [ERR_NOT_FOUND]  = { "not-found", 404 },
    [ERR_AUTH]       = { "forbidden", 403 },
    [ERR_CLOSED]     = { "transient", 503 },
};

const char *fhir_issue_code(err e)
{
    return e > ERR_OK && e < ERR_COUNT ? issues[e].code : "exception";
}

int fhir_issue_status(err e)
{
    return e > ERR_OK && e < ERR_COUNT ? issues[e].status : 500;
}

/* fhir/outcome.h -- OperationOutcome resources: how FHIR says what went wrong. */
#ifndef FHIR_OUTCOME_H
#define FHIR_OUTCOME_H

#include "base/json.h"

typedef enum fhir_severity { FHIR_FATAL, FHIR_ERROR, FHIR_WARNING, FHIR_INFORMATION } fhir_severity;

/* One issue; `code` is of the value set issue-type ("not-found", "conflict", …) and must be
 * a literal. The text goes to diagnostics and to details.text. */
json *fhir_outcome(arena *mem, fhir_severity severity, const char *code, slice text);

/* Adds an issue to an OperationOutcome. */
void fhir_outcome_add(arena *mem, json *outcome, fhir_severity severity, const char *code, slice text);

/* The issue-type code and the HTTP status that fit an error of ours. */
const char *fhir_issue_code(err e);
int fhir_issue_status(err e);

#endif

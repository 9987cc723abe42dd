/* fhir/check.h -- the first, cheap look at a resource: is it R4 at its top level? */
#ifndef FHIR_CHECK_H
#define FHIR_CHECK_H

#include "base/json.h"

/* ERR_FHIR when it is no object, has no known `resourceType`, a bad `id`, an element that
 * its type does not have, lacks a required one, has two forms of a choice, or holds the
 * wrong kind of JSON or an unknown code in an element; likewise in what it contains.
 * What is inside of complex elements is not looked at. `why` names type and element,
 * never a value. */
must_check err fhir_check(const json *resource, err_info *why);

#endif

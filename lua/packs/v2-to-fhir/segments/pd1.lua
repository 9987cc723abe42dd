-- PD1 -> Patient, as PD1[Patient] of the guide. PD1-4 was withdrawn in 2.7, and is
-- what most senders still have.
local fhir = require "fhir"

local SD = fhir.SD

return {
  segment = "PD1", resource = "Patient", guide = "PD1[Patient]",

  { 3,  "generalPractitioner[]", "XON", row = "5" },
  { 4,  "generalPractitioner[]", "XCN", row = "6" },
  { 6,  "extension[]", "CWE", system = fhir.V2 .. "0295",
        url = SD .. "patient-disability", at = "valueCodeableConcept", row = "8-9" },
  { 14, "extension[]", "XON.string", url = SD .. "patient-congregation", at = "valueString", row = "17-18" },
}

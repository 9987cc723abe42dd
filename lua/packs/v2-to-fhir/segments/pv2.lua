-- PV2 -> Encounter, as PV2[Encounter] of the guide.
local fhir = require "fhir"

local R5 = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Encounter."
local V2, V3, SD = fhir.V2, fhir.V3, fhir.SD

return {
  segment = "PV2", resource = "Encounter", guide = "PV2[Encounter]",

  { 1,  "location[]", "PL", status = "planned", row = "3-4" },
  { 3,  "reasonCode[]", "CWE", row = "7" },
  { 8,  "extension[]", "DTM", url = R5 .. "plannedStartDate", at = "valueDateTime", row = "12-13" },
  { 9,  "extension[]", "DTM", url = R5 .. "plannedEndDate", at = "valueDateTime", row = "14-15" },
  { 11, "length", "days", row = "17" },
  { 13, "participant[]", "XCN", at = "individual", row = "19-22",
        with = { type = { { coding = { { system = V3 .. "ParticipationType", code = "REF",
                                         display = "referrer" } } } } } },
  { 25, "priority", "CWE", vocab = "EncounterPriority", system = V2 .. "0217", row = "34" },
  { 38, "extension[]", "Coding", vocab = "ModeOfArrivalCode", system = V2 .. "0430",
        url = SD .. "encounter-modeOfArrival", at = "valueCoding", row = "47-48" },
}

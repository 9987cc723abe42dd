-- DG1 -> Condition, as DG1[Condition] of the guide. The Encounter's side of it
-- (DG1[Encounter]: condition, use, rank) is in messages/adt.lua.
local coded = require "datatypes.coded"
local fhir  = require "fhir"
local text  = require "text"

local VERIFICATION = "http://terminology.hl7.org/CodeSystem/condition-ver-status"

return {
  segment = "DG1", resource = "Condition", guide = "DG1[Condition]",

  { 20, "identifier[]", "EI", row = "24" },
  { 3,  "code", "CWE", required = true, row = "5" },
  { 4,  "code.text", "ST", row = "6" },
  { 5,  "onsetDateTime", "DTM", row = "7" },
  { 16, "asserter", "XCN", row = "18" },
  { 19, "recordedDate", "DTM", row = "23" },
  { 19, "extension[]", "DTM", url = fhir.SD .. "condition-assertedDate", at = "valueDateTime", row = "21-22" },

  after = function(seg, condition)
    -- Until 2.3 the coding method stood in DG1-2.
    local first = condition.code and condition.code.coding and condition.code.coding[1]
    local method = text.clean(seg:get(2))
    if first and first.code and first.system == nil and method then
      first.system = coded.system_uri(method)
    end
    if text.clean(seg:get(21)) == "D" then
      condition.verificationStatus = fhir.concept(VERIFICATION, "entered-in-error")
    end
  end,
}

-- OBX -> Observation, as OBX[Observation] and OBX[Observation-Component] of the
-- guide. What OBX-5 holds depends on OBX-2: see obx_value.lua.
local fhir  = require "fhir"
local party = require "datatypes.party"
local text  = require "text"
local value = require "segments.obx_value"

local V2, V3, SD = fhir.V2, fhir.V3, fhir.SD
local ABSENT = "http://terminology.hl7.org/CodeSystem/data-absent-reason"

local responsible = party.XCN {}
local organization = party.XON {}

-- Rows 51 to 70: who answers for it. OBX-23 is the organisation, OBX-25 its
-- director; both may perform.
local function performers(seg, observation)
  local list = seg:all(16, responsible)
  local more = { seg:one(15, value.producer), seg:one(23, organization), seg:one(25, responsible) }
  for i = 1, 3 do
    if more[i] then
      list = list or {}
      list[#list + 1] = more[i]
    end
  end
  observation.performer = list
end

return {
  segment = "OBX", resource = "Observation", guide = "OBX[Observation]",

  { 21, "identifier[]", "EI", kind = "FILL", row = "61-62" },
  { 3,  "code", "CWE", vocab = "ObservationCode", required = true, row = "5" },
  { 4,  "extension[]", "ST", url = SD .. "observation-v2-subid", sub = "original-sub-identifier",
        at = "valueString", row = "6" },
  { 8,  "interpretation[]", "CWE", vocab = "Interpretation", system = V2 .. "0078", row = "38" },
  { 10, "extension[]", "ID", system = V2 .. "0080",
        url = SD .. "observation-nature-of-abnormal-test", at = "valueCodeableConcept", row = "40-41" },
  { 11, "status", "code", vocab = "ObservationStatus", default = "unknown", required = true,
        system = V2 .. "0085", row = "42" },
  { 14, "effectiveDateTime", "DTM", row = "50" },
  { 17, "method", "CWE", row = "56" },
  { 18, "device", "EI", at = "identifier", with = { type = "Device" }, type = false, kind = "device", row = "57" },
  { 19, "extension[]", "DTM", url = SD .. "observation-analysis-date-time", at = "valueDateTime", row = "58-59" },
  { 20, "bodySite", "CWE", row = "60" },
  { 29, "category[]", "ID", system = V2 .. "0936", row = "74-75" },

  after = function(seg, observation)
    performers(seg, observation)
    local status = text.clean(seg:get(11))
    -- Rows 43 to 47: X has no result to show, and N was not asked for.
    if status == "X" then observation._status = fhir.original_code("X", V2 .. "0085") end
    if observation.code == nil then
      observation.code = fhir.concept(V3 .. "NullFlavor", "UNK", "unknown")   -- 1..1
    end
    value.map(seg, observation)
    if status == "N" and observation.dataAbsentReason == nil and not value.has(observation) then
      observation.dataAbsentReason = fhir.concept(ABSENT, "not-asked", "Not Asked")
    end
  end,
}

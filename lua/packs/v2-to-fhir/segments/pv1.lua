-- PV1 -> Encounter, as PV1[Encounter] of the guide.
local codes = require "codes"
local fhir  = require "fhir"
local text  = require "text"
local time  = require "datatypes.time"

local V2, V3 = fhir.V2, fhir.V3
local PARTICIPATION = V3 .. "ParticipationType"

local function participant(code, shown)
  return { type = { { coding = { { system = PARTICIPATION, code = code, display = shown } } } } }
end

-- Encounter.status is required. The guide has two tables for it that disagree:
-- EventEncounterStatus by the trigger event, which has A04 (a registration, the
-- patient is there) as planned and A08 as unknown, and EncounterStatus by PV1-2.
-- Those events decide that say it in so many words; then PV1-45, then PV1-2.
local BY_EVENT = {
  A03 = "finished", A05 = "planned", A11 = "cancelled", A13 = "in-progress",
  A14 = "planned", A23 = "entered-in-error", A27 = "cancelled", A38 = "cancelled",
}

local function status(seg, event)
  local by_event = event and BY_EVENT[event]
  if by_event then return by_event end
  if text.clean(seg:get(45)) then return "finished" end
  local class = text.clean(seg:get(2))
  return class and codes.find("EncounterStatus", class) or "unknown"
end

return {
  segment = "PV1", resource = "Encounter", guide = "PV1[Encounter]", status = status,

  { 19, "identifier[]", "CX", kind = "VN", row = "41-44" },
  { 50, "identifier[]", "CX", row = "77" },
  { 2,  "class", "Coding", vocab = "EncounterClass", required = true, row = "4" },
  { 3,  "location[]", "PL", status = "active", when = "2 != P", row = "6-7" },
  { 3,  "location[]", "PL", status = "planned", when = "2 = P", row = "6,8" },
  { 6,  "location[]", "PL", status = "completed", row = "11-12" },
  { 11, "location[]", "PL", status = "active", row = "26-27" },
  { 42, "location[]", "PL", status = "reserved", row = "67-68" },
  { 4,  "type[]", "CWE", vocab = "AdmissionType", system = V2 .. "0007", row = "9" },
  { 5,  "hospitalization.preAdmissionIdentifier", "CX", row = "10" },
  { 7,  "participant[]", "XCN", at = "individual", with = participant("ATND", "attender"), row = "13-16" },
  { 8,  "participant[]", "XCN", at = "individual", with = participant("REF", "referrer"), row = "17-20" },
  { 9,  "participant[]", "XCN", at = "individual", with = participant("CON", "consultant"), row = "21-24" },
  { 17, "participant[]", "XCN", at = "individual", with = participant("ADM", "admitter"), row = "36-39" },
  { 52, "participant[]", "XCN", at = "individual", with = participant("PART", "Participation"), row = "79-82" },
  { 10, "serviceType", "CWE", vocab = "HospitalService", system = V2 .. "0069", row = "25" },
  { 13, "hospitalization.reAdmission", "CWE", vocab = "ReadmissionIndicator", system = V2 .. "0092", row = "32" },
  { 14, "hospitalization.admitSource", "CWE", vocab = "AdmitSource", system = V2 .. "0023", row = "33" },
  { 15, "hospitalization.specialArrangement[]", "CWE", vocab = "AmbulatoryStatus", system = V2 .. "0009", row = "34" },
  { 16, "hospitalization.specialCourtesy[]", "CWE", vocab = "VIPIndicator", system = V2 .. "0099", row = "35" },
  { 36, "hospitalization.dischargeDisposition", "CWE", vocab = "DischargeDisposition",
        system = V2 .. "0112", row = "61" },
  { 37, "hospitalization.destination", "DLD", row = "62" },
  { 38, "hospitalization.dietPreference[]", "CWE", vocab = "DietType", system = V2 .. "0114", row = "63" },
  { 44, "period.start", "DTM", row = "70" },
  { 45, "period.end", "DTM", row = "71" },

  after = function(_, encounter)
    -- Required in R4 (Encounter.class 1..1).
    if encounter.class == nil then
      encounter.class = { system = V3 .. "NullFlavor", code = "UNK", display = "unknown" }
    end
    -- per-1: what ends before it starts keeps its text only.
    local period = encounter.period
    if period and time.reversed(period.start, period["end"]) then
      period._end, period["end"] = fhir.original_text(period["end"]), nil
    end
  end,
}

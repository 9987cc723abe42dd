-- OBR -> DiagnosticReport, as OBR[DiagnosticReport] of the guide. The ServiceRequest
-- and the Specimen that it tells of are in obr_request.lua and obr_specimen.lua.
local fhir  = require "fhir"
local party = require "datatypes.party"
local time  = require "datatypes.time"

local V2, V3, SD = fhir.V2, fhir.V3, fhir.SD

local person = party.NDL {}

-- Rows 42 to 49: technician and transcriptionist, with what they did.
local function performers(seg, report, n, code)
  for _, reference in ipairs(seg:all(n, person) or {}) do
    reference.extension = { { url = SD .. "event-performerFunction",
                              valueCodeableConcept = fhir.concept(V3 .. "ParticipationType", code) } }
    report.performer = report.performer or {}
    table.insert(report.performer, reference)
  end
end

return {
  segment = "OBR", resource = "DiagnosticReport", guide = "OBR[DiagnosticReport]",

  { 2,  "identifier[]", "EI", kind = "PLAC", row = "4-6" },
  { 3,  "identifier[]", "EI", kind = "FILL", row = "7-9" },
  { 4,  "code", "CWE", row = "10" },
  { 7,  "effectiveDateTime", "DTM", when = "8 not valued", row = "13" },
  { 7,  "effectivePeriod.start", "DTM", when = "8 valued", row = "14" },
  { 8,  "effectivePeriod.end", "DTM", row = "15" },
  { 22, "issued", "instant", row = "29" },
  { 24, "category[]", "ID", vocab = "DiagnosticServiceSection", system = V2 .. "0074", row = "31" },
  { 25, "status", "code", vocab = "ReportStatus", default = "unknown", system = V2 .. "0123", row = "32" },
  { 32, "resultsInterpreter[]", "NDL", row = "40" },

  after = function(seg, report)
    performers(seg, report, 34, "SPRF")
    performers(seg, report, 35, "TRANS")
    if report.status == nil then report.status = "unknown" end                 -- 1..1
    if report.code == nil then
      report.code = fhir.concept(V3 .. "NullFlavor", "UNK", "unknown")         -- 1..1
    end
    local period = report.effectivePeriod
    if period and time.reversed(period.start, period["end"]) then
      period._end, period["end"] = fhir.original_text(period["end"]), nil
    end
  end,
}

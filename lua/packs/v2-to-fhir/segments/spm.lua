-- SPM -> Specimen, as SPM[Specimen] of the guide.
local fhir = require "fhir"
local text = require "text"
local time = require "datatypes.time"

local V2 = fhir.V2

return {
  segment = "SPM", resource = "Specimen", guide = "SPM[Specimen]",

  { 2,  "identifier[]", "EIP", half = 2, kind = "FGN", row = "5" },
  { 2,  "identifier[]", "EIP", half = 1, kind = "PGN", row = "4" },
  { 31, "identifier[]", "CX", row = "36" },
  { 3,  "parent[]", "EIP", half = 2, at = "identifier", with = { type = "Specimen" }, row = "7" },
  { 3,  "parent[]", "EIP", half = 1, at = "identifier", with = { type = "Specimen" }, row = "6" },
  { 4,  "type", "CWE", vocab = "SpecimenType", system = V2 .. "0487", row = "8" },
  { 6,  "container[]", "CWE", vocab = "AdditivePreservative", system = V2 .. "0371",
        at = "additiveCodeableConcept", row = "10" },
  { 27, "container[]", "CWE", vocab = "ContainerType", at = "type", row = "32" },
  { 7,  "collection.method", "CWE", vocab = "SpecimenCollectionMethod", system = V2 .. "0488", row = "11" },
  { 8,  "collection.bodySite", "CWE", vocab = "SpecimenSourceSite", system = V2 .. "0163", row = "12" },
  { 12, "collection.quantity", "CQ", row = "16" },
  { 14, "note[]", "ST", at = "text", row = "18" },
  { 18, "receivedTime", "DTM", row = "23" },
  { 20, "status", "code", vocab = "SpecimenAvailability", row = "25" },
  { 24, "condition[]", "CWE", vocab = "SpecimenCondition", system = V2 .. "0493", row = "29" },
  { 30, "accessionIdentifier", "CX", kind = "ACSN", row = "35" },

  after = function(seg, specimen)
    -- Rows 21 and 22: a period only when SPM-17 has an end.
    if seg:count(17) == 0 then return end
    local collection = specimen.collection or {}
    seg:one(17, function(rep)
      local from, to = text.get(rep, 1), text.get(rep, 2)
      if to then
        collection.collectedPeriod = time.period(from, to)
      else
        collection.collectedDateTime, collection._collectedDateTime = time.datetime(from)
      end
    end)
    specimen.collection = next(collection) and collection or nil
  end,
}

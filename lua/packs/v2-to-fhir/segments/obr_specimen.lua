-- OBR -> Specimen, as OBR[Specimen] of the guide. With an SPM these rows fill what
-- its rows (spm.lua) left open: SPM came with 2.5 and took over from OBR-15.
local coded = require "datatypes.coded"
local fhir  = require "fhir"
local text  = require "text"

local V2 = fhir.V2
local get = text.get

-- SPS: subcomponents in a component make a CE of 2.3 (SPS[Specimen-Source] 3-8).
local function concept(rep, comp, system)
  local code, shown, name = get(rep, comp, 1), get(rep, comp, 2), get(rep, comp, 3)
  if code == nil and shown == nil then return nil end
  if code and shown == nil and name == nil and text.code(code):find "%s" then return { text = code } end
  return { coding = { { code = text.code(code), display = shown,
                        system = name and coded.system_uri(name) or (code and system) or nil } } }
end

local function source(seg, specimen)
  seg:one(15, function(rep)
    specimen.type = specimen.type or concept(rep, 1, V2 .. "0487")
    local additive = concept(rep, 2, V2 .. "0371")
    if additive and not specimen.container then
      specimen.container = { { additiveCodeableConcept = additive } }
    end
    local words = get(rep, 3)
    if words and not specimen.note then specimen.note = { { text = words } } end
    local site = concept(rep, 4, V2 .. "0163")
    if site then
      specimen.collection = specimen.collection or {}
      specimen.collection.bodySite = specimen.collection.bodySite or site
    end
    local condition = concept(rep, 6, V2 .. "0493")
    if condition and not specimen.condition then specimen.condition = { condition } end
  end)
end

return {
  segment = "OBR", resource = "Specimen", guide = "OBR[Specimen]",

  { 9,  "collection.quantity", "CQ", missing = true, row = "12" },
  { 10, "collection.collector", "XCN", missing = true, row = "13" },
  { 14, "receivedTime", "DTM", missing = true, row = "18" },
  { 39, "note[]", "CWE.string", at = "text", row = "45" },

  after = function(seg, specimen)
    source(seg, specimen)
    -- Rows 9 to 11, unless SPM-17 has told.
    local collection = specimen.collection or {}
    if not collection.collectedDateTime and not collection.collectedPeriod then
      local time = require "datatypes.time"
      if seg:count(8) > 0 then
        collection.collectedPeriod = time.period(seg:get(7), seg:get(8))
      else
        collection.collectedDateTime, collection._collectedDateTime = time.datetime(seg:get(7))
      end
    end
    specimen.collection = next(collection) and collection or nil
  end,
}

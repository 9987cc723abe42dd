-- AL1 -> AllergyIntolerance, as AL1[AllergyIntolerance] of the guide. Severity goes
-- to both places that rows 11 to 14 leave open: the criticality, and the reaction
-- that AL1-5 tells of.
local codes = require "codes"
local fhir  = require "fhir"
local text  = require "text"

local V2 = fhir.V2
local CLINICAL = "http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical"

return {
  segment = "AL1", resource = "AllergyIntolerance", guide = "AL1[AllergyIntolerance]",

  { nil, "clinicalStatus", value = fhir.concept(CLINICAL, "active"), row = "3-4" },
  { 2, "category[]", "code", vocab = "AllergyCategory", row = "6" },
  { 2, "type", "code", vocab = "AllergyType", row = "9" },
  { 3, "code", "CWE", required = true, row = "10" },
  { 4, "criticality", "code", vocab = "AllergyCriticality", system = V2 .. "0128", row = "11-13" },
  { 5, "reaction[]", "CWE", at = "manifestation", row = "15" },
  { 6, "onsetDateTime", "DTM", row = "16" },

  after = function(seg, allergy)
    local reactions = allergy.reaction
    if reactions then
      local severity = text.clean(seg:get(4))
      severity = severity and codes.find("AllergySeverity", severity)
      for _, reaction in ipairs(reactions) do
        -- AL1-5 is text (ST), although some senders code it.
        local concept = reaction.manifestation
        local first = concept.coding and concept.coding[1]
        if first and first.code and not first.display and not first.system then
          concept = { text = first.code }
        end
        reaction.manifestation = { concept }
        reaction.severity = severity
      end
    end
  end,
}

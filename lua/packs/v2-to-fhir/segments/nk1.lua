-- NK1 -> Patient.contact, as NK1[Patient] of the guide; see nk1_person.lua for the
-- RelatedPerson that most of them are, too.
local fhir = require "fhir"

local V2 = fhir.V2

return {
  segment = "NK1", resource = "Patient.contact", guide = "NK1[Patient]",

  { 2,  "name", "XPN", row = "4" },
  { 3,  "relationship[]", "CWE", vocab = "Relationship", system = V2 .. "0063", row = "5" },
  { 4,  "address", "XAD", row = "6" },
  { 5,  "telecom[]", "XTN", row = "7" },
  { 6,  "telecom[]", "XTN", fixed_use = "work", row = "8-9" },
  { 40, "telecom[]", "XTN", row = "43" },
  { 41, "telecom[]", "XTN", row = "44" },
  { 7,  "relationship[]", "CWE", vocab = "ContactRole", system = V2 .. "0131", row = "10" },
  { 8,  "period.start", "DTM", row = "11" },
  { 9,  "period.end", "DTM", row = "12" },
  { 13, "organization", "XON", row = "16" },
  { 15, "gender", "code", vocab = "AdministrativeSex", system = V2 .. "0001", row = "18" },
}

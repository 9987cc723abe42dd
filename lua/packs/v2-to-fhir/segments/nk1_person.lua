-- NK1 -> RelatedPerson, as NK1[RelatedPerson] of the guide.
local fhir = require "fhir"

local V2 = fhir.V2

return {
  segment = "NK1", resource = "RelatedPerson", guide = "NK1[RelatedPerson]",

  { 33, "identifier[]", "CX", row = "36" },
  { 12, "identifier[]", "CX", kind = "EN", row = "15" },
  { 37, "identifier[]", "ST.Identifier", kind = "SS",
        system = "http://hl7.org/fhir/sid/us-ssn", row = "40-43" },
  { 2,  "name[]", "XPN", row = "4" },
  { 30, "name[]", "XPN", row = "33" },
  { 3,  "relationship[]", "CWE", vocab = "Relationship", system = V2 .. "0063", row = "5" },
  { 7,  "relationship[]", "CWE", vocab = "ContactRole", system = V2 .. "0131", row = "10" },
  { 4,  "address[]", "XAD", row = "6" },
  { 32, "address[]", "XAD", row = "35" },
  { 5,  "telecom[]", "XTN", row = "7" },
  { 6,  "telecom[]", "XTN", fixed_use = "work", row = "8-9" },
  { 31, "telecom[]", "XTN", row = "34" },
  { 40, "telecom[]", "XTN", row = "46" },
  { 41, "telecom[]", "XTN", row = "47" },
  { 8,  "period.start", "DTM", row = "11" },
  { 9,  "period.end", "DTM", row = "12" },
  { 15, "gender", "code", vocab = "AdministrativeSex", system = V2 .. "0001", row = "18" },
  { 16, "birthDate", "DT", row = "19" },
  { 20, "communication[]", "CWE", vocab = "PrimaryLanguage", at = "language", row = "23" },
}

-- PID -> Patient, as PID[Patient] of the guide.
local coded = require "datatypes.coded"
local fhir  = require "fhir"
local text  = require "text"

local SD, V2, V3 = fhir.SD, fhir.V2, fhir.V3

-- Rows 17 to 20: PID-12, the county, belongs to the one address that has no
-- district, or else is an address of its own.
local function county(seg, patient)
  local value = text.clean(seg:get(12))
  if value == nil then return end
  local addresses = patient.address
  if type(addresses) ~= "table" or addresses[1] == nil then
    patient.address = { { district = value } }
  elseif #addresses == 1 and addresses[1].district == nil then
    addresses[1].district = value
  elseif #addresses > 1 or addresses[1].district ~= value then
    addresses[#addresses + 1] = { district = value }
  end
end

-- Rows 55 to 60: PID-35 and 36 are parts of one extension. The species is required
-- in it, so a breed alone cannot be told.
local species_of = coded.CodeableConcept { system = V2 .. "0446" }
local breed_of   = coded.CodeableConcept { system = V2 .. "0447" }

local function animal(seg, patient)
  local species = seg:one(35, species_of)
  if species == nil then return end
  local breed = seg:one(36, breed_of)
  patient.extension = patient.extension or {}
  table.insert(patient.extension, { url = SD .. "patient-animal", extension = {
    { url = "species", valueCodeableConcept = species },
    breed and { url = "breed", valueCodeableConcept = breed } or nil,
  } })
end

return {
  segment = "PID", resource = "Patient", guide = "PID[Patient]",

  { 3,  "identifier[]", "CX", row = "5" },
  { 2,  "identifier[]", "CX", row = "4" },
  { 4,  "identifier[]", "CX", row = "6" },
  { 19, "identifier[]", "ST.Identifier", kind = "SS",
        system = "http://hl7.org/fhir/sid/us-ssn", row = "30-34" },  -- the guide's has a stray dot
  { 20, "identifier[]", "DLN", row = "35" },
  { 5,  "name[]", "XPN", row = "7" },
  { 9,  "name[]", "XPN", row = "14" },
  { 6,  "extension[]", "XPN.string", url = SD .. "patient-mothersMaidenName", at = "valueString", row = "8-9" },
  { 7,  "birthDate", "birthDate", row = "10-12" },
  { 8,  "gender", "code", vocab = "AdministrativeSex", system = V2 .. "0001", row = "13" },
  { 11, "address[]", "XAD", row = "16" },
  { 13, "telecom[]", "XTN", use = "home", row = "21-22" },
  { 14, "telecom[]", "XTN", use = "work", row = "23-24" },
  { 40, "telecom[]", "XTN", row = "66" },
  { 15, "communication[]", "CWE", vocab = "PrimaryLanguage", at = "language", row = "25" },
  { 16, "maritalStatus", "CWE", vocab = "MaritalStatus", system = V2 .. "0002", row = "26" },
  { 17, "extension[]", "CWE", vocab = "Religion", system = V2 .. "0006",
        url = SD .. "patient-religion", at = "valueCodeableConcept", row = "27-28" },
  { 23, "extension[]", "ST", url = SD .. "patient-birthPlace", at = "valueAddress.text", row = "38-39" },
  { 24, "multipleBirthBoolean", "boolean", when = "25 not valued", row = "40" },
  { 25, "multipleBirthInteger", "integer", row = "41" },
  { 26, "extension[]", "CWE", system = V2 .. "0171",
        url = SD .. "patient-citizenship", sub = "code", at = "valueCodeableConcept", row = "42-44" },
  { 28, "extension[]", "CWE", system = V2 .. "0212",
        url = SD .. "patient-nationality", sub = "code", at = "valueCodeableConcept", row = "46-48" },
  { 29, "deceasedDateTime", "DTM", row = "49" },
  { 30, "deceasedBoolean", "boolean", when = "29 not valued", row = "50" },
  { 39, "extension[]", "CWE", system = V3 .. "TribalEntityUS",
        url = SD .. "patient-citizenship", sub = "code", at = "valueCodeableConcept", row = "63-65" },

  after = function(seg, patient)
    county(seg, patient)
    if seg:count(35) > 0 then animal(seg, patient) end
    -- deceased[x] is one or the other; a date that is none leaves the fact.
    if patient.deceasedDateTime == nil and patient._deceasedDateTime then
      patient.deceasedBoolean, patient._deceasedDateTime = true, nil
    end
  end,
}

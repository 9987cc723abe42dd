-- HL7's null, the bundle, and options of entries.
local fhir = require "fhir"
local host = require "host"
local v2   = require "v2"

return function(msg, out)
  local bundle  = v2.map(msg)
  local patient = bundle:one "Patient"
  assert(patient.maritalStatus == host.null, "an empty PID-16 deletes")
  assert(#patient.telecom == 1, "an empty PID-14 leaves the home number")
  assert(patient.multipleBirthBoolean == nil, "what is absent is absent")

  local entry = bundle:entry(patient)
  assert(entry.owned == true, "ADT owns the patient")
  assert(entry.if_none_exist:find("%7C4711", 1, true), "found by the record number")
  for practitioner in bundle:each "Practitioner" do
    assert(bundle:entry(practitioner).owned == false, "ADT does not own doctors")
  end
  assert(not pcall(bundle.one, bundle, "Observation"), "one raises when there is none")
  assert(bundle:first "Observation" == nil, "first does not")

  local flag = fhir.Flag {
    identifier = { fhir.identifier("urn:test", "a|b c") },
    status  = "active",
    code    = fhir.concept("urn:test", "x", "X"),
    subject = fhir.reference(entry),
  }
  bundle:add(flag)
  assert(bundle:entry(flag).if_none_exist == "identifier=urn:test%7Ca%5C%7Cb%20c", "the search is encoded")
  assert(bundle:remove(flag) == flag and bundle:first "Flag" == nil, "what is removed is gone")

  assert(fhir.codeable(nil, "MaritalStatus") == nil)
  assert(fhir.codeable(host.null, "MaritalStatus") == host.null)
  assert(fhir.codeable("S", "MaritalStatus").coding[1].code == "S")
  assert(fhir.codeable("?", "MaritalStatus").text == "?", "a code without a row stays readable")
  out:put(bundle)
end

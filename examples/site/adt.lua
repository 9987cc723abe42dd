-- Admissions: as the stock pack maps them, with this hospital's marital codes and
-- the dietary wish that it sends in a segment of its own, ZPD.
local fhir = require "fhir"
local v2   = require "v2"

return function(msg, out)
  local mapped, why = v2.mapped(msg)
  if not mapped then return out:skip(why) end

  local bundle  = v2.map(msg)
  local patient = bundle:one "Patient"
  patient.maritalStatus = fhir.codeable(msg:get "PID-16", "marital")

  local visit = bundle:first "Encounter"
  local diet  = msg:get "ZPD-2"
  if visit and diet then
    visit.hospitalization = visit.hospitalization or {}
    visit.hospitalization.dietPreference = { { text = diet } }
  end

  out:put(bundle)
end

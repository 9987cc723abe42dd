-- The datatype functions, as a handler of one's own uses them.
local fhir = require "fhir"
local text = require "text"
local v2   = require "v2"

local gender = v2.codes { M = "male", F = "female" }

return function(msg, out)
  v2.begin(msg)
  local pid = msg:one "PID"
  local patient = fhir.Patient {
    identifier = pid:all(3, v2.identifier { system = { NONE = "urn:test" } }),
    name       = pid:all(5, v2.human_name),
    birthDate  = pid:one(7, v2.date),
    gender     = pid:one(8, gender),
    address    = pid:all(11, v2.address),
    telecom    = v2.join(pid:all(13, v2.phone "home"), pid:all(14, v2.phone "work")),
  }
  assert(patient.name[1].family == "OBRIEN" and patient.name[1].given[2] == "P")
  assert(patient.birthDate == "1961-02-03" and patient.gender == "male")
  assert(#patient.telecom == 2 and patient.telecom[2].use == "work")
  assert(pid:one(16, v2.codeable "MaritalStatus").coding[1].display == "Never Married")
  local ok, why = pcall(pid.one, pid, 8, v2.codes { X = "other" })
  assert(not ok and not why:find("M", 1, true), "a code that is not in the table is an error without the code")

  local numbers = { ["5"] = "5", ["+5"] = "5", [".5"] = "0.5", ["5."] = "5", ["007"] = "7", ["-0.50"] = "-0.50",
                    ["1.10"] = "1.10", ["0"] = "0", ["0.0"] = "0.0", ["1e3"] = "1e3", ["1,5"] = false,
                    ["."] = false, ["-"] = false, ["abc"] = false, ["5x"] = false, ["1.2.3"] = false }
  for written, wanted in pairs(numbers) do
    assert((text.number(written) or false) == wanted, "the number " .. written)
  end
  out:put(patient)
end

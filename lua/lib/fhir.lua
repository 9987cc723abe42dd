-- Builders for FHIR R4 elements. All of them give nil for nothing, so that a
-- field that is not there ends as an element that is not there.
--
--   fhir.Patient { … }                        a resource: any R4 type's name
--   fhir.codeable(msg:get "PID-16", "marital")   by a code table
--   fhir.coding(system, code, display)
--   fhir.identifier(system, value, type_code)
--   fhir.reference(entry_or_url, display)
--   fhir.quantity("1.10", "mg/dL")            keeps the digits
--   fhir.extension(url, "valueString", value)
local host  = require "host"
local hl7   = require "hl7"
local codes = require "codes"
local text  = require "text"

local clean = text.clean
local find  = string.find

local fhir = {
  V2 = "http://terminology.hl7.org/CodeSystem/v2-",
  V3 = "http://terminology.hl7.org/CodeSystem/v3-",
  SD = "http://hl7.org/fhir/StructureDefinition/",
}

local IDENTIFIER_TYPE = fhir.V2 .. "0203"
local ORIGINAL_TEXT   = fhir.SD .. "originalText"
local ALTERNATE_CODES = fhir.SD .. "alternate-codes"

function fhir.coding(system, code, display)
  if code == nil and display == nil then return nil end
  return { system = system, code = code, display = display }
end

-- A CodeableConcept for a code by a table of the pack: `to`, `display` and
-- `system` of the code's row. A code that the table does not have is kept as text.
-- HL7's null deletes the element.
function fhir.codeable(code, name)
  if code == nil then return nil end
  if code == hl7.null then return host.null end
  code = text.code(code)
  if code == nil then return nil end
  if name then
    local to, system, display = codes.find(name, code)
    if to then return { coding = { { system = system, code = to, display = display } } } end
  end
  return { text = code }
end

-- A CodeableConcept of one fixed coding.
function fhir.concept(system, code, display)
  return { coding = { { system = system, code = code, display = display } } }
end

function fhir.identifier(system, value, type_code)
  value = clean(value)
  if value == nil then return nil end
  return { system = system, value = value,
           type = type_code and fhir.identifier_type(type_code) or nil }
end

-- Identifier.type for a code of HL7 table 0203.
function fhir.identifier_type(code)
  return { coding = { { system = IDENTIFIER_TYPE, code = code } } }
end

-- To an entry of a bundle, or to a URL.
function fhir.reference(to, display)
  if to == nil then return display and { display = display } or nil end
  return { reference = type(to) == "table" and to.full_url or to, display = display }
end

function fhir.extension(url, key, value)
  if value == nil then return nil end
  return { url = url, [key] = value }
end

-- A number with the digits that it was written with; nil when it is none.
function fhir.decimal(value)
  local number = text.number(value)
  return number and host.decimal(number) or nil
end

function fhir.quantity(value, unit, system, code)
  local number = value and fhir.decimal(value)
  if not number then return nil end
  return { value = number, unit = unit, system = code and system or nil,
           code = system and code or nil }
end

-- What a primitive carries beside its value (FHIR R4, JSON), for `_birthDate`
-- and the like: the text that could not be kept whole, …
function fhir.original_text(value)
  return { extension = { { url = ORIGINAL_TEXT, valueString = value } } }
end

-- … or the code that the element's required binding has no room for.
function fhir.original_code(code, system)
  return { extension = { {
    url = ALTERNATE_CODES, valueCodeableConcept = { coding = { { system = system, code = code } } },
  } } }
end

-- A deep copy, for constants that become part of a resource: a script may change
-- what it is given, and must not change the next message's.
local function copy(value)
  if type(value) ~= "table" then return value end
  local out = {}
  for k, v in pairs(value) do out[k] = copy(v) end
  return out
end
fhir.copy = copy

-- The same for a constant that is copied often: a function that makes copies.
function fhir.template(value)
  if type(value) ~= "table" then return function() return value end end
  local keys, makers, count = {}, {}, 0
  for k, v in pairs(value) do
    count = count + 1
    keys[count], makers[count] = k, fhir.template(v)
  end
  return function()
    local out = {}
    for i = 1, count do out[keys[i]] = makers[i]() end
    return out
  end
end

-- fhir.Patient { … } and so on for every type: the table itself, with its type.
return setmetatable(fhir, {
  __index = function(_, name)
    if type(name) ~= "string" or not find(name, "^%u%a+$") then return nil end
    return function(resource)
      resource.resourceType = name
      return resource
    end
  end,
})

-- Coded datatypes: CWE, CE, CNE, CF, IS, ID, ST as codes.
--
-- A datatype is made for a row: `datatype(row)` gives the function that maps a
-- repetition (or, for those in `of_text`, the field's text). Of the row they use
--   vocab    the code table that translates the code (tables/VOCAB.csv)
--   system   the code system of codes that are not in it and name none
local codes    = require "codes"
local fhir     = require "fhir"
local identity = require "identity"
local text     = require "text"

local get, clean_code = text.get, text.code
local find, match, upper = string.find, string.match, string.upper
local V2 = fhir.V2

local coded = { of_text = {} }

-- The URI for the name of a coding system (HL7 table 0396). A name that nobody
-- knows is the tenant's; "L" and "99…" mean something to the sender only.
local function system_uri(name)
  if name == nil then return nil end
  local uri = codes.find("CodingSystem", name) or codes.find("CodingSystem", upper(name))
  if uri then return uri end
  local number = match(name, "^HL7(%d%d%d%d)$")
  if number then return V2 .. number end
  number = match(name, "^HL7(%d+)$")
  if number and #number < 4 then return V2 .. ("0"):rep(4 - #number) .. number end
  if name == "L" or find(name, "^99") then return identity.own_system(name) end
  return identity.system(name)
end
coded.system_uri = system_uri

-- One triplet as a Coding; nil when it says nothing.
local function coding(code, display, name, version, system)
  code = clean_code(code)
  if code == nil and display == nil then return nil end
  return { code = code, display = display, version = version,
           system = name and system_uri(name) or (code and system or nil) }
end

-- CWE[CodeableConcept]: 1-3, 4-6 and 10-12 as codings, 9 as the text. With a
-- table, the translated coding comes first and the original stays behind it.
local function codeable(rep, vocab, system)
  local code, display, name, alternate, alternate_display, alternate_name, version, alternate_version,
        words, third, third_display, third_name, third_version = rep:unpack(13)
  local first = coding(code, display, name, version, system)
  local second = (alternate or alternate_display)
                 and coding(alternate, alternate_display, alternate_name, alternate_version) or nil
  local last = third and coding(third, third_display, third_name, third_version) or nil
  local translated
  if vocab and first and first.code then
    local to, to_system, to_display = codes.find(vocab, first.code)
    if to then
      translated = { code = to, system = to_system or system, display = to_display or display }
      if to == first.code and (name == nil or to_system == first.system) then first = nil end
    end
  end
  -- Lists without holes, made at their size.
  if translated then
    if first then return { coding = { translated, first, second or last, second and last }, text = words } end
    return { coding = { translated, second or last, second and last }, text = words }
  elseif first then
    return { coding = { first, second or last, second and last }, text = words }
  elseif second or last then
    return { coding = { second or last, second and last }, text = words }
  end
  return words and { text = words } or nil
end
coded.codeable = codeable

function coded.CodeableConcept(row)
  local vocab, system = row.vocab, row.system
  return function(rep) return codeable(rep, vocab, system) end
end

-- CWE[Coding]
function coded.Coding(row)
  local vocab, system = row.vocab, row.system
  return function(rep)
    local code, display, name, _, _, _, version = rep:unpack(7)
    code = clean_code(code)
    if vocab and code then
      local to, to_system, to_display = codes.find(vocab, code)
      if to then
        return { code = to, system = to_system or system, display = to_display or display }
      end
    end
    return coding(code, display, name, version, system)
  end
end

-- CWE[string]: the text that a person reads.
function coded.String()
  return function(rep) return get(rep, 9) or get(rep, 2) or get(rep, 1) end
end

-- ---- of the field's text --------------------------------------------------

-- CWE[code], ID[code], IS[code] for elements with a required binding: the code by
-- the table, or else `default`. A code without a translation is kept beside it.
function coded.of_text.code(row)
  local vocab, default, system = row.vocab, row.default, row.system
  return function(value)
    local code = clean_code(value)
    if code == nil then return nil end
    if not vocab then return code end
    local to = codes.find(vocab, code) or codes.find(vocab, upper(code))
    if to then return to end
    return default, fhir.original_code(code, system)
  end
end

-- ID[CodeableConcept], ST[CodeableConcept] with a system
function coded.of_text.CodeableConcept(row)
  local vocab, system = row.vocab, row.system
  return function(value)
    local code = clean_code(value)
    if code == nil then return nil end
    if vocab then
      local to, to_system, display = codes.find(vocab, code)
      if to then
        return { coding = { { code = to, system = to_system or system, display = display } } }
      end
    end
    return { coding = { { code = code, system = system } } }
  end
end

-- ID[boolean], HL7 table 0136
function coded.of_text.boolean()
  return function(value)
    value = text.clean(value)
    if value == "Y" or value == "y" then return true end
    if value == "N" or value == "n" then return false end
    return nil
  end
end

-- ST[CodeableConcept.text]
function coded.of_text.concept_text()
  return function(value)
    value = text.clean(value)
    return value and { text = value } or nil
  end
end

return coded

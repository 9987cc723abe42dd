-- OBX-5 -> Observation.value[x], by OBX-2 (rows 7 to 37 of OBX[Observation]).
--
-- Laboratories do not always send what OBX-2 says. A value that is not of its type
-- becomes a string, so that nothing is lost.
local attachment = require "datatypes.attachment"
local coded      = require "datatypes.coded"
local fhir       = require "fhir"
local host       = require "host"
local number     = require "datatypes.number"
local party      = require "datatypes.party"
local text       = require "text"
local time       = require "datatypes.time"

local get, clean = text.get, text.clean
local find, match = string.find, string.match

local value = {}

local ATTACHMENT = "http://hl7.org/fhir/5.0/StructureDefinition/extension-Observation.valueAttachment"
local RATIO = { [":"] = true, ["/"] = true }

value.producer = party.CWE_Organization {}

local concept_of    = coded.CodeableConcept {}
local embedded      = attachment.ED {}
local pointer       = attachment.RP {}
local range_of_time = time.DR {}
local person        = party.XCN {}
local organization  = party.XON {}

-- All components as one text, in the order and with the blanks of the guide.
local function joined(rep, last)
  local out
  for i = 1, last do
    local part = get(rep, i)
    if part then out = out and out .. " " .. part or part end
  end
  return out
end

local function as_string(rep)
  local out = joined(rep, 6)
  if out then return "valueString", out end
end

local function numeric(rep, unit)
  local n, comparator = number.parse(get(rep, 1))
  if n == nil then return as_string(rep) end
  return "valueQuantity", number.quantity(n, unit, comparator)
end

-- SN: comparator, number, separator or suffix, number.
local function structured(rep, unit)
  local sign, first, between, second = get(rep, 1), get(rep, 2), get(rep, 3), get(rep, 4)
  local low, high = first and fhir.decimal(first), second and fhir.decimal(second)
  local words = joined(rep, 4)
  if words == nil then return nil end
  if unit and unit.unit then words = words .. " " .. unit.unit end
  if sign == "<>" or between == "+" then return "valueString", words end
  local comparator = sign and number.COMPARATOR[sign] or nil
  if between == nil and second == nil then
    if low and (sign == nil or comparator or sign == "=") then
      return "valueQuantity", number.quantity(low, unit, comparator)
    end
  elseif between == "-" and low and high and sign == nil then
    return "valueRange", { low = number.quantity(low, unit), high = number.quantity(high, unit) }
  elseif RATIO[between] and low and high then
    -- A titre such as 1:128 has no unit; a rate does, and it is the whole's.
    return "valueRatio", { numerator = number.quantity(low, unit, comparator),
                           denominator = number.quantity(high, unit) }
  end
  return "valueString", words
end

local function coded_value(rep)
  local concept = concept_of(rep)
  if concept then return "valueCodeableConcept", concept end
end

local function plain(rep)
  local out = text.whole(rep)
  if out then return "valueString", out end
end

local function date_time(rep)
  local out, why = host.datetime(get(rep, 1) or "")
  if out == nil or why then return as_string(rep) end
  return "valueDateTime", out
end

local function clock(rep)
  local out = time.clock(get(rep, 1))
  if out then return "valueTime", out end
  return as_string(rep)
end

local function numeric_range(rep, unit)
  local low, high = get(rep, 1), get(rep, 2)
  low, high = low and fhir.decimal(low), high and fhir.decimal(high)
  if not low and not high then return as_string(rep) end
  return "valueRange", { low = low and number.quantity(low, unit), high = high and number.quantity(high, unit) }
end

-- Shown as text: R4 has no value[x] for a party.
local function shown(convert)
  return function(rep)
    local reference = convert(rep)
    local out = reference and (reference.display or (reference.identifier and reference.identifier.value))
    if out then return "valueString", out end
    return as_string(rep)
  end
end

local function attached(convert)
  return function(rep)
    local out = convert(rep)
    if out then return "attachment", out end
    return as_string(rep)
  end
end

local BY_TYPE = {
  NM = numeric, SN = structured, SI = numeric, MO = as_string,
  CE = coded_value, CWE = coded_value, CNE = coded_value, CF = coded_value, IS = coded_value,
  ST = plain, TX = plain, FT = plain, ID = plain,
  DT = date_time, DTM = date_time, TS = date_time, TM = clock,
  DR = function(rep)
    local out = range_of_time(rep)
    if out then return "valuePeriod", out end
  end,
  NR = numeric_range,
  VR = function(rep)
    local from, to = get(rep, 1), get(rep, 2)
    if from and to then return "valueString", from .. "-" .. to end
    return as_string(rep)
  end,
  CQ = function(rep, unit)
    local shown_unit = get(rep, 2, 1)
    return numeric(rep, shown_unit and { unit = get(rep, 2, 2) or shown_unit } or unit)
  end,
  XCN = shown(person), XON = shown(organization),
  ED = attached(embedded), RP = attached(pointer),
}

-- NA (rows 25, 31): a waveform or a vector. SampledData needs a period that the
-- message does not have; 0 says that the points are not spaced in time.
local function sampled(seg, unit)
  local list = seg:all(5, function(rep)
    local out
    for i = 1, 512 do
      local part = get(rep, i)
      if part == nil then break end
      out = out and out .. " " .. part or part
    end
    return out
  end)
  if list == nil then return nil end
  local data = table.concat(list, " ")
  if find(data, "[^%d%s.E+-]") then return "valueString", data end
  return "valueSampledData", {
    origin = number.quantity(fhir.decimal "0", unit), period = fhir.decimal "0",
    dimensions = #list > 1 and select(2, list[1]:gsub("%S+", "")) or 1, data = data,
  }
end

-- OBX-7 as text, and as numbers where it is two of them (row 37).
local function reference_range(rep, unit)
  local words = get(rep, 1)
  if words == nil then return nil end
  local low, high = match(words, "^([%d.]+)%s*%-%s*([%d.]+)$")
  low, high = low and fhir.decimal(low), high and fhir.decimal(high)
  if not (low and high) then return { text = words } end
  return { low = number.quantity(low, unit), high = number.quantity(high, unit), text = words }
end

local function put(target, key, out)
  if key == "attachment" then
    target.extension = target.extension or {}
    table.insert(target.extension, { url = ATTACHMENT, valueAttachment = out })
  elseif key then
    target[key] = out
  end
end

function value.has(observation)
  for key in pairs(observation) do
    if find(key, "^value%u") or key == "component" then return true end
  end
  return false
end

function value.map(seg, observation)
  local kind = clean(seg:get(2))
  local unit = seg:one(6, number.unit)
  observation.referenceRange = seg:all(7, function(rep) return reference_range(rep, unit) end)
  local count = seg:count(5)
  if count == 0 then return end
  if kind == "NA" or kind == "MA" then return put(observation, sampled(seg, unit)) end
  -- Without OBX-2 (required with OBX-5, but not always there): coded or plain.
  local convert = BY_TYPE[kind] or plain
  if kind == nil then
    convert = function(rep, ...)
      return (get(rep, 2) and get(rep, 3) and coded_value or plain)(rep, ...)
    end
  end
  if count == 1 then
    return seg:one(5, function(rep) put(observation, convert(rep, unit)) end)
  end
  -- Several values: components with the observation's own code.
  local attachments
  local components = seg:all(5, function(rep)
    local key, out = convert(rep, unit)
    if key == "attachment" then
      attachments = attachments or {}
      attachments[#attachments + 1] = out
      return nil
    end
    return key and { code = fhir.copy(observation.code), [key] = out } or nil
  end)
  for _, out in ipairs(attachments or {}) do put(observation, "attachment", out) end
  if components and #components == 1 then
    components[1].code = nil
    for key, out in pairs(components[1]) do observation[key] = out end
  else
    observation.component = components
  end
end

-- Takes the attachments out of an observation, for DiagnosticReport.presentedForm,
-- where receivers look for them.
function value.take_attachments(observation)
  local extensions, taken = observation.extension, nil
  if extensions == nil then return nil end
  for i = #extensions, 1, -1 do
    if extensions[i].url == ATTACHMENT then
      taken = taken or {}
      table.insert(taken, 1, extensions[i].valueAttachment)
      table.remove(extensions, i)
    end
  end
  if #extensions == 0 then observation.extension = nil end
  return taken
end

return value

-- Numbers: NM, SN, CQ, NR and the units of OBX-6. Decimals keep the digits that
-- they were written with.
local coded = require "datatypes.coded"
local fhir  = require "fhir"
local text  = require "text"

local get, clean = text.get, text.clean
local decimal = fhir.decimal
local find, match = string.find, string.match

local number = { of_text = {} }

-- CWE[Quantity]: a unit, and its code when it names a system (rows 3 to 6).
function number.unit(rep)
  local code, shown, name = rep:unpack(3)
  if code and name then
    return { unit = shown or code, code = text.code(code), system = coded.system_uri(name) }
  end
  shown = shown or code
  return shown and { unit = shown } or nil
end

-- A Quantity of a number object and a unit.
function number.quantity(value, unit, comparator)
  if unit == nil then return { value = value, comparator = comparator } end
  return { value = value, comparator = comparator, unit = unit.unit, code = unit.code,
           system = unit.system }
end

local COMPARATOR = { ["<"] = "<", ["<="] = "<=", [">"] = ">", [">="] = ">=" }
number.COMPARATOR = COMPARATOR

-- NM as it comes: laboratories put "<5" there, too. The number and its comparator,
-- or nil.
function number.parse(value)
  value = clean(value)
  if value == nil then return nil end
  local out = decimal(value)
  if out then return out end
  local sign, rest = match(value, "^([<>]=?)%s*(.+)$")
  if sign == nil then return nil end
  out = decimal(rest)
  if out == nil then return nil end
  return out, COMPARATOR[sign]
end

function number.of_text.decimal()
  return function(value)
    value = clean(value)
    return value and decimal(value) or nil
  end
end

local function whole(value, least)
  value = clean(value)
  local digits = value and match(value, "^%+?0*(%d+)%.?0*$")
  local n = digits and #digits < 10 and math.tointeger(digits) or nil
  if n and n >= least then return n end
  return nil
end

function number.of_text.positiveInt()
  return function(value) return whole(value, 1) end
end

function number.of_text.integer()
  return function(value) return whole(value, 0) end
end

-- NM[Quantity-LengthOfStay]
function number.of_text.days()
  return function(value)
    value = clean(value)
    local n = value and not find(value, "^%-") and decimal(value) or nil
    if n == nil then return nil end
    return { value = n, unit = "days", system = "http://unitsofmeasure.org", code = "d" }
  end
end

-- CQ[Quantity]
function number.CQ()
  return function(rep)
    local value = get(rep, 1)
    value = value and decimal(value)
    if value == nil then return nil end
    local code, shown, name = get(rep, 2, 1), get(rep, 2, 2), get(rep, 2, 3)
    if code and name then
      return { value = value, unit = shown or code, code = text.code(code),
               system = coded.system_uri(name) }
    end
    return { value = value, unit = shown or code }
  end
end

return number

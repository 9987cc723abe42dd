-- People's names: XPN, and the name parts of XCN and CNN.
local codes = require "codes"
local fhir  = require "fhir"
local text  = require "text"
local time  = require "datatypes.time"

local get = text.get
local SD  = fhir.SD

-- FN.2 to FN.5, in the order of the subcomponents (FN[HumanName] 4-11).
local OWN_AND_PARTNER = {
  [2] = SD .. "humanname-own-prefix",     [3] = SD .. "humanname-own-name",
  [4] = SD .. "humanname-partner-prefix", [5] = SD .. "humanname-partner-name",
}

local name = {}

-- Which component holds which part. XCN has an id in front (2A.3.90).
local XPN = { family = 1, given = 2, middle = 3, suffix = 4, prefix = 5, degree = 6, use = 7,
              range = 10, from = 12, to = 13, professional = 14 }
local XCN = { family = 2, given = 3, middle = 4, suffix = 5, prefix = 6, use = 10,
              range = 17, from = 19, to = 20, professional = 21 }
name.XCN_PARTS = XCN

local function family_extensions(rep, comp)
  local list
  for sub = 2, 5 do
    local value = get(rep, comp, sub)
    if value then
      list = list or {}
      list[#list + 1] = { url = OWN_AND_PARTNER[sub], valueString = value }
    end
  end
  return list and { extension = list } or nil
end

-- A HumanName; nil when no part is there. XPN.11 (assembly order) is left out: the
-- extension's codes (NL1 to NL4) say something else than HL7 table 0444 does.
local function human_name(rep, parts)
  local family, given, middle = get(rep, parts.family, 1), get(rep, parts.given), get(rep, parts.middle)
  if family == nil and given == nil and middle == nil then return nil end
  local out = { family = family }
  if family then out._family = family_extensions(rep, parts.family) end
  if given then
    out.given = { given, middle }
  elseif middle then
    out.given = { middle }
  end

  local first, second, third = get(rep, parts.suffix), parts.degree and get(rep, parts.degree) or nil,
                               get(rep, parts.professional)
  if first or second or third then
    local list = {}
    if first then list[1] = first end
    if second then list[#list + 1] = second end
    if third then list[#list + 1] = third end
    out.suffix = list
  end
  local prefix = get(rep, parts.prefix)
  if prefix then out.prefix = { prefix } end
  local use = get(rep, parts.use)
  if use then
    -- A type without a FHIR use (B, adopted; P, partner; …) leaves the use open.
    out.use = codes.find("NameType", use)
  end
  local from, to = get(rep, parts.from), get(rep, parts.to)
  if from or to then
    out.period = time.period(from, to)
  else
    from, to = get(rep, parts.range, 1), get(rep, parts.range, 2)
    if from or to then out.period = time.period(from, to) end
  end
  return out
end

-- XPN[HumanName]
function name.XPN()
  return function(rep) return human_name(rep, XPN) end
end

-- XPN[string]: as one text, for a mother's maiden name.
function name.XPN_string()
  return function(rep)
    local family, given = get(rep, 1, 1), get(rep, 2)
    if family and given then return given .. " " .. family end
    return family or given
  end
end

-- The name in an XCN, and how to show the person.
function name.of_person(rep)
  local out = human_name(rep, XCN)
  if out == nil then return nil, nil end
  local prefix = out.prefix and out.prefix[1]
  local shown = out.family
  if out.given then
    local given = table.concat(out.given, " ")
    shown = shown and given .. " " .. shown or given
  end
  return out, prefix and prefix .. " " .. shown or shown
end

return name

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

-- FN's other parts; the first is the family itself.
local function family_extensions(rep, comp)
  local list
  local _, own_prefix, own, partner_prefix, partner = rep:unpack(5, comp)
  if not (own_prefix or own or partner) then return nil end
  for sub, value in pairs { [2] = own_prefix, [3] = own, [4] = partner_prefix, [5] = partner } do
    list = list or {}
    list[#list + 1] = { url = OWN_AND_PARTNER[sub], valueString = value }
  end
  return list and { extension = list } or nil
end

-- A HumanName of its parts; nil when there is no name in them. XPN.11 (assembly
-- order) is left out: the extension's codes (NL1 to NL4) say something else than
-- HL7 table 0444 does.
local function human_name(rep, at, family, given, middle, suffix, prefix, use, degree, professional)
  if family == nil and given == nil and middle == nil then return nil end
  local out = { family = family, prefix = prefix and { prefix } or nil }
  if family then out._family = family_extensions(rep, at) end
  if given then
    out.given = { given, middle }
  elseif middle then
    out.given = { middle }
  end
  if suffix or degree or professional then
    local list = { suffix }
    if degree then list[#list + 1] = degree end
    if professional then list[#list + 1] = professional end
    out.suffix = list
  end
  -- A type without a FHIR use (B, adopted; P, partner; …) leaves the use open.
  if use then out.use = codes.find("NameType", use) end
  return out
end

-- From and until, or else the range that they replaced in 2.4.
local function period(rep, from, to, range)
  if from or to then return time.period(from, to) end
  if range then return time.period(get(rep, range, 1), get(rep, range, 2)) end
  return nil
end

-- XPN[HumanName]
function name.XPN()
  return function(rep)
    local family, given, middle, suffix, prefix, degree, use, _, _, range, _, from, to, professional =
      rep:unpack(14)
    local out = human_name(rep, 1, family, given, middle, suffix, prefix, use, degree, professional)
    if out and (from or to or range) then out.period = period(rep, from, to, range and 10) end
    return out
  end
end

-- XPN[string]: as one text, for a mother's maiden name.
function name.XPN_string()
  return function(rep)
    local family, given = get(rep, 1, 1), get(rep, 2)
    if family and given then return given .. " " .. family end
    return family or given
  end
end

-- The name in an XCN, which has an id in front of it, and how to show the
-- person. XCN.7, the degree, is the Practitioner's qualification.
function name.of_person(rep, family, given, middle, suffix, prefix, use)
  local out = human_name(rep, 2, family, given, middle, suffix, prefix, use, nil, get(rep, 21))
  if out == nil then return nil, nil end
  local from, to, range = get(rep, 19), get(rep, 20), get(rep, 17)
  if from or to or range then out.period = period(rep, from, to, range and 17) end
  local shown = family
  if middle then shown = shown and middle .. " " .. shown or middle end
  if given then shown = shown and given .. " " .. shown or given end
  if prefix then shown = prefix .. " " .. shown end
  return out, shown
end

return name

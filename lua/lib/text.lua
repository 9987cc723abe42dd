-- Reading text out of repetitions, as FHIR wants it.
local null = require("host").null
local hl7  = require "hl7"

local byte, find, match, gsub = string.byte, string.find, string.match, string.gsub
local NULL = hl7.null

local text = {}

-- Text without the blanks that senders pad with; nil for HL7's null, which
-- within a datatype says no more than that there is nothing.
function text.clean(value)
  if value == nil or value == NULL or value == null then return nil end
  local first, last = byte(value), byte(value, -1)
  if first == nil then return nil end
  if first > 32 and last > 32 then return value end
  value = match(value, "^%s*(.-)%s*$")
  if value == "" then return nil end
  return value
end

local clean = text.clean

-- Component `comp` (and subcomponent `sub`) of a repetition.
function text.get(rep, comp, sub)
  local value = sub and rep:get(comp, sub) or (not sub and rep:get(comp))
  if not value then return nil end
  return clean(value)
end

-- All of a repetition as one text, for ST, TX and FT: senders do not escape every
-- `^` and `&`, and in these datatypes they can only be meant as they are.
function text.whole(rep)
  local out = clean(rep:text())
  if not rep:sub(2) and not rep:sub(3) then return out end
  out = out or ""
  local gap = ""
  for i = 2, 64 do
    local part = rep:sub(i)
    gap = gap .. "^"
    if part then
      out, gap = out .. gap .. (clean(part:text()) or ""), ""
    end
  end
  return clean(out)
end

-- As the type `code` wants it: no double blanks inside (FHIR R4, 2.24.0.1).
function text.code(value)
  value = clean(value)
  if value and find(value, "%s%s") then value = gsub(value, "%s+", " ") end
  return value
end

-- A JSON number for NM text: HL7 allows "+5", ".5", "5." and "007" (2A.3.50);
-- nil when it is no number.
function text.number(value)
  local sign, whole, rest = match(value, "^([+-]?)0*(%d*)(.*)$")
  if rest ~= "" and rest ~= "." then
    local fraction, exponent = match(rest, "^%.(%d+)(.*)$")
    if not fraction then
      fraction, exponent = nil, rest
    end
    if exponent ~= "" and not find(exponent, "^[eE][+-]?%d+$") then return nil end
    if whole == "" and not fraction and not find(value, "%d") then return nil end
    rest = (fraction and "." .. fraction or "") .. exponent
  else
    if whole == "" and not find(value, "0") then return nil end
    rest = ""
  end
  if whole == "" then
    if not find(value, "%d") then return nil end
    whole = "0"
  end
  return (sign == "-" and "-" or "") .. whole .. rest
end

return text

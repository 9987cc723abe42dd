-- Reading text out of repetitions, as FHIR wants it.
local hl7 = require "hl7"

local byte, find, match, gsub = string.byte, string.find, string.match, string.gsub
local NULL = hl7.null

local text = {}

-- Text without the blanks that senders pad with; nil for HL7's null, which
-- within a datatype says no more than that there is nothing.
local function clean(value)
  if value == nil or value == NULL then return nil end
  -- What begins with a blank or a control character sorts before "!".
  if value < "!" or byte(value, -1) <= 32 then
    value = match(value, "^%s*(.-)%s*$")
    if value == "" then return nil end
  end
  return value
end
text.clean = clean

-- Component `comp` (and subcomponent `sub`) of a repetition; rep:unpack(n) gives the
-- first n at once.
function text.get(rep, comp, sub)
  local value = rep:get(comp, sub)
  if value == nil then return nil end            -- as most are
  if value == NULL then return nil end
  if value < "!" or byte(value, -1) <= 32 then return clean(value) end
  return value
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

-- A JSON number for NM text: HL7 allows "+5", ".5", "5." and "007" (chapter 2A);
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

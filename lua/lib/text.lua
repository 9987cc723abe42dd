-- Reading text out of repetitions, as FHIR wants it.
local hl7 = require "hl7"

local find, match = string.find, string.match

local text = {}

-- Text without the blanks that senders pad with; nil for HL7's null, which
-- within a datatype says no more than that there is nothing.
local clean = hl7.clean
text.clean = clean

-- get(rep, comp, sub): component `comp` (and subcomponent `sub`) of a repetition,
-- clean; rep:unpack(n) gives the first n at once.
text.get = hl7.part

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
text.code = hl7.code

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

-- Writing URNs and URL queries.
local find, gsub, format, byte = string.find, string.gsub, string.format, string.byte

local urn = {}

local function hex(c) return format("%%%02X", byte(c)) end

-- One part of a URN: what would end it or be no URI is written %XX (RFC 8141).
function urn.token(text)
  if not find(text, "[^%w%._~-]") then return text end
  return (gsub(text, "[^%w%._~-]", hex))
end

-- Part of a URL's query (RFC 3986); ':' and '/' are allowed there.
function urn.query(text)
  if not find(text, "[^%w%._~:/-]") then return text end
  return (gsub(text, "[^%w%._~:/-]", hex))
end

-- The value of a search parameter of type token: `\`, `,`, `$` and `|` are escaped
-- first (FHIR R4, search).
function urn.search_value(text)
  if not find(text, "[^%w%._~:/-]") then return text end
  return urn.query((gsub(text, "[\\,$|]", "\\%0")))
end

return urn

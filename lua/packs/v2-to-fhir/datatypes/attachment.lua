-- Attachments: ED and RP.
local text = require "text"

local get, clean = text.get, text.clean
local byte, char, find, gsub, lower, sub = string.byte, string.char, string.find, string.gsub,
                                          string.lower, string.sub

local attachment = {}

-- What senders write for a subtype (HL7 table 0291) or as the whole.
local MEDIA = {
  pdf = "application/pdf", rtf = "application/rtf", msword = "application/msword",
  doc = "application/msword", html = "text/html", htm = "text/html", xml = "text/xml",
  plain = "text/plain", txt = "text/plain", text = "text/plain", jpeg = "image/jpeg",
  jpg = "image/jpeg", png = "image/png", gif = "image/gif", tiff = "image/tiff",
  tif = "image/tiff", bmp = "image/bmp", dicom = "application/dicom",
  ["octet-stream"] = "application/octet-stream", ["x-hl7-cda-level-one"] = "text/xml",
}
local GROUP = { application = true, audio = true, image = true, multipart = true, text = true,
                video = true, model = true }

-- A content type out of ED.2 (or RP.3) and ED.3 (or RP.4); nil when they tell none.
local function media(kind, subtype)
  kind, subtype = kind and lower(kind), subtype and lower(subtype)
  for _, whole in ipairs { subtype or "", kind or "" } do
    if find(whole, "^[%w.+-]+/[%w.+-]+$") then return whole end
  end
  if subtype and MEDIA[subtype] then return MEDIA[subtype] end
  if subtype and kind and GROUP[kind] and not find(subtype, "[^%w.+-]") then
    return kind .. "/" .. subtype
  end
  return kind and (MEDIA[kind] or (kind == "ft" or kind == "tx") and "text/plain") or nil
end

local ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
local DIGIT = {}
for i = 0, 63 do DIGIT[i] = sub(ALPHABET, i + 1, i + 1) end

-- RFC 4648 section 4.
local function base64(data)
  local out, n = {}, 0
  for i = 1, #data, 3 do
    local a, b, c = byte(data, i, i + 2)
    local bits = a << 16 | (b or 0) << 8 | (c or 0)
    n = n + 1
    out[n] = DIGIT[bits >> 18] .. DIGIT[bits >> 12 & 63]
             .. (b and DIGIT[bits >> 6 & 63] or "=") .. (c and DIGIT[bits & 63] or "=")
  end
  return table.concat(out)
end

-- The data as base64Binary, from ED.4's encoding; nil when it is not what it says.
local function data_of(value, encoding)
  encoding = encoding and lower(encoding) or "a"
  if encoding == "base64" then
    if find(value, "%s") then value = gsub(value, "%s+", "") end
    -- Lines are broken by an escape in HL7 (2.7): `\.br\`.
    if #value % 4 ~= 0 or not find(value, "^[%w+/]+=?=?$") then return nil end
    return value
  end
  if encoding == "hex" then
    if #value % 2 ~= 0 or not find(value, "^%x+$") then return nil end
    return base64((gsub(value, "%x%x", function(pair) return char(tonumber(pair, 16)) end)))
  end
  return base64(value)
end

-- ED[Attachment]
function attachment.ED()
  return function(rep)
    local value = clean(rep:get(5))
    if value == nil then return nil end
    local encoding = get(rep, 4)
    local data = data_of(value, encoding)
    if data == nil then return nil end
    return { contentType = media(get(rep, 2), get(rep, 3)), data = data }
  end
end

-- RP[Attachment]: a pointer; the application that holds it is RP.2.
function attachment.RP()
  return function(rep)
    local pointer = get(rep, 1)
    if pointer == nil or find(pointer, "%s") then return nil end
    return { url = pointer, contentType = media(get(rep, 3), get(rep, 4)), title = get(rep, 2) }
  end
end

return attachment

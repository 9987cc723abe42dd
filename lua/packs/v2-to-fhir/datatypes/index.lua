-- The datatypes by the names that rows use. A pack replaces one by a
-- datatypes/index.lua of its own that takes this one and puts another in its place:
--
--   local types = require "packs.v2-to-fhir.datatypes.index"
--   return types.with { of_field = { XTN = require "my.xtn" } }
--
-- `of_field` are made from a repetition (rep:get(n)), `of_text` from the text of a
-- field's first component, which is all that most primitives need.
local attachment = require "datatypes.attachment"
local coded      = require "datatypes.coded"
local contact    = require "datatypes.contact"
local identifier = require "datatypes.identifier"
local name       = require "datatypes.name"
local number     = require "datatypes.number"
local party      = require "datatypes.party"
local text       = require "text"
local time       = require "datatypes.time"

local function plain() return text.whole end

local index = {
  of_field = {
    CWE = coded.CodeableConcept, CE = coded.CodeableConcept, CNE = coded.CodeableConcept,
    Coding = coded.Coding, ["CWE.string"] = coded.String,
    CX = identifier.CX, EI = identifier.EI, EIP = identifier.EIP, DLN = identifier.DLN,
    XPN = name.XPN, ["XPN.string"] = name.XPN_string,
    XAD = contact.XAD, XTN = contact.XTN,
    XCN = party.XCN, NDL = party.NDL, XON = party.XON, ["XON.string"] = party.XON_string,
    ["CWE.Organization"] = party.CWE_Organization,
    PL = party.PL, ["PL.reference"] = party.PL_reference, DLD = party.DLD,
    CQ = number.CQ, DR = time.DR, ST = plain, FT = plain, TX = plain,
    ED = attachment.ED, RP = attachment.RP,
  },
  of_text = {
    code = coded.of_text.code, boolean = coded.of_text.boolean,
    ID = coded.of_text.CodeableConcept, ["ST.concept"] = coded.of_text.concept_text,
    ["ST.Identifier"] = identifier.of_text.Identifier,
    DTM = time.of_text.dateTime, DT = time.of_text.date, instant = time.of_text.instant,
    birthDate = time.of_text.birthDate,
    NM = number.of_text.decimal, SI = number.of_text.positiveInt,
    integer = number.of_text.integer, days = number.of_text.days,
  },
}

-- A copy in which some are others.
function index.with(others)
  local out = { of_field = {}, of_text = {}, with = index.with }
  for kind, makers in pairs(out) do
    if type(makers) == "table" then
      for k, v in pairs(index[kind]) do makers[k] = v end
      for k, v in pairs(others[kind] or {}) do makers[k] = v end
    end
  end
  return out
end

return index

-- Where to reach people: XAD and XTN.
local codes = require "codes"
local fhir  = require "fhir"
local text  = require "text"
local time  = require "datatypes.time"

local get = text.get
local find, lower = string.find, string.lower
local SD = fhir.SD

local contact = {}

local function add(list, value)
  if value == nil then return list end
  if list == nil then return { value } end
  list[#list + 1] = value
  return list
end

-- XAD[Address]
function contact.XAD()
  return function(rep)
    local street, other, city, state, zip, country, kind, _, county, tract, _, range, from, to,
          _, _, _, _, addressee = rep:unpack(19)
    local line = add(nil, street)
    if street then
      local _, name, number = rep:unpack(3, 1)
      line = add(line, name)
      line = add(line, number)
    end
    line = add(line, other)
    line = add(line, addressee)
    if not (line or city or state or zip or country or county) then return nil end
    local out = { line = line, city = city, state = state, postalCode = zip, country = country,
                  district = county, use = nil, type = nil }
    if kind then
      out.type = codes.find("AddressType", kind)
      out.use  = codes.find("AddressUse", kind)
      if kind == "HV" then
        out.extension = { { url = SD .. "iso21090-AD-use", valueCode = "HV" } }
      end
    end
    if tract then
      out.extension = add(out.extension, { url = SD .. "iso21090-ADXP-censusTract", valueString = tract })
    end
    if from or to then
      out.period = time.period(from, to)
    elseif range then
      out.period = time.period(range, get(rep, 12, 2))
    end
    return out
  end
end

-- HL7 table 0202. CP is a use rather than a system (TelecommunicationEquipmentType
-- of the guide): a mobile telephone.
local SYSTEM = { PH = "phone", CP = "phone", FX = "fax", BP = "pager", Internet = "email",
                 ["X.400"] = "email", MD = "other", SAT = "other", TDD = "other", TTY = "other" }
local SYSTEM_BY_LOWER = {}
for k, v in pairs(SYSTEM) do SYSTEM_BY_LOWER[lower(k)] = v end

-- The parts as one number (XTN rows 15 to 18); nil when there is no local number.
local function composed(country, area, number, extension)
  if number == nil then return nil end
  local out = number
  if area then out = area .. " " .. out end
  if country then out = (find(country, "^%+") and "" or "+") .. country .. " " .. out end
  if extension then out = out .. " X" .. extension end
  return out
end

-- XTN.5 to XTN.8 as extensions (rows 9 to 14, 19 and 20).
local function parts(country, area, number, extension)
  local list = country and { { url = SD .. "contactpoint-country", valueString = country } } or nil
  if area then list = add(list, { url = SD .. "contactpoint-area", valueString = area }) end
  if number then list = add(list, { url = SD .. "contactpoint-local", valueString = number }) end
  if extension then list = add(list, { url = SD .. "contactpoint-extension", valueString = extension }) end
  return list
end

-- The system when XTN.3 tells none. Row 7 would say data-absent-reason. But the
-- fields are telephone numbers by their names, and until 2.7 XTN.3 was optional.
local function guess(value, use)
  if use == "NET" or find(value, "^[^%s@]+@[^%s@]+$") then return "email" end
  if find(value, "^[%d%s()+./xX-]+$") then return "phone" end
  return nil
end

-- XTN[ContactPoint]. `row.use` is for those that name none (PID rows 22 and 24),
-- `row.fixed_use` for all.
function contact.XTN(row)
  local default_use, fixed_use = row.use, row.fixed_use
  return function(rep)
    local whole, use, equipment, email, country, area, number, extension, _, _, _, unformatted, from, to,
          _, _, _, rank = rep:unpack(18)
    local system = equipment and (SYSTEM[equipment] or SYSTEM_BY_LOWER[lower(equipment)]) or nil
    local value, extensions
    if system == "email" then
      value = email or whole
    else
      value = unformatted or composed(country, area, number, extension) or whole
      extensions = parts(country, area, number, extension)
      if value == nil and email then
        value, system = email, "email"
      end
    end
    if value == nil then return nil end
    system = system or guess(value, use)
    local out = { value = value, system = system, extension = extensions, use = nil }
    if system == nil then
      out._system = { extension = { { url = SD .. "data-absent-reason", valueCode = "unknown" } } }
    end
    if equipment == "CP" then
      out.use = "mobile"
    elseif fixed_use then
      out.use = fixed_use
    elseif use then
      out.use = codes.find("TelecommunicationUse", use)
    else
      out.use = default_use
    end
    if from or to then out.period = time.period(from, to) end
    if rank and find(rank, "^[1-9]%d*$") and #rank < 10 then out.rank = math.tointeger(rank) end
    return out
  end
end

return contact

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
    local line = add(nil, get(rep, 1, 1))
    line = add(line, get(rep, 1, 2))
    line = add(line, get(rep, 1, 3))
    line = add(line, get(rep, 2))
    local out = {
      city       = get(rep, 3),
      state      = get(rep, 4),
      postalCode = get(rep, 5),
      country    = get(rep, 6),
      district   = get(rep, 9),
    }
    line = add(line, get(rep, 19))
    out.line = line
    local kind = get(rep, 7)
    if kind then
      out.type = codes.find("AddressType", kind)
      out.use  = codes.find("AddressUse", kind)
      if kind == "HV" then
        out.extension = { { url = SD .. "iso21090-AD-use", valueCode = "HV" } }
      end
    end
    local tract = get(rep, 10)
    if tract then
      out.extension = add(out.extension, { url = SD .. "iso21090-ADXP-censusTract", valueString = tract })
    end
    local from, to = get(rep, 13), get(rep, 14)
    if not from and not to then from, to = get(rep, 12, 1), get(rep, 12, 2) end
    if from or to then out.period = time.period(from, to) end
    if line or out.city or out.state or out.postalCode or out.country or out.district then
      return out
    end
    return nil
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
    local whole, use, equipment, email = get(rep, 1), get(rep, 2), get(rep, 3), get(rep, 4)
    local system = equipment and (SYSTEM[equipment] or SYSTEM_BY_LOWER[lower(equipment)]) or nil
    local value, extensions
    if system == "email" then
      value = email or whole
    else
      local country, area, number, extension = get(rep, 5), get(rep, 6), get(rep, 7), get(rep, 8)
      value = get(rep, 12) or composed(country, area, number, extension) or whole
      extensions = parts(country, area, number, extension)
      if value == nil and email then
        value, system = email, "email"
      end
    end
    if value == nil then return nil end
    system = system or guess(value, use)
    local out = { value = value, system = system, extension = extensions }
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
    local from, to = get(rep, 13), get(rep, 14)
    if from or to then out.period = time.period(from, to) end
    local rank = get(rep, 18)
    if rank and find(rank, "^[1-9]%d*$") and #rank < 10 then out.rank = math.tointeger(rank) end
    return out
  end
end

return contact

-- Who and where: XCN, CNN, XON, PL as references.
--
-- A party whose id has an authority (or a known type, such as an NPI) becomes a
-- resource of the bundle, created only where it is not yet known; the message
-- refers to it and does not own it. Without an authority nobody can tell whether
-- two are the same, so the reference says only what the message says.
local fhir     = require "fhir"
local identity = require "identity"
local scope    = require "scope"
local text     = require "text"
local names    = require "datatypes.name"

local get, code_of = text.get, text.code

local party = {}

local NPI = "http://hl7.org/fhir/sid/us-npi"

-- The reference to a resource made by make(rep, name), which is called once for
-- each identity; or a logical reference when the id has no authority.
local function refer(kind, id, shown, known, make, rep, name)
  local bundle = scope.bundle
  if not known or not bundle then
    return { identifier = id, display = shown, type = id and kind or nil }
  end
  local url = identity.full_url(kind, id.system, id.value)
  if not bundle:find(url) then
    local resource = make(rep, name)
    resource.resourceType, resource.identifier = kind, { id }
    bundle:put(resource, url, identity.search(id.system, id.value), false)
  end
  return { reference = url, display = shown }
end

-- An identifier for value, authority and type code; and whether it can be trusted
-- to mean one and the same party everywhere.
local function identify(value, namespace, id, id_type, code, kind)
  if value == nil then return nil, false end
  local known = namespace ~= nil or id ~= nil
  local system
  if code == "NPI" and not known then
    system, known = NPI, true
  else
    system = identity.system(namespace, id, id_type, code or kind)
  end
  return { value = value, system = system, type = code and fhir.identifier_type(code) or nil }, known
end

local function practitioner(rep, name)
  local degree = get(rep, 7)
  return {
    name = name and { name } or nil,
    qualification = degree and {
      { code = { coding = { { system = fhir.V2 .. "0360", code = code_of(degree) } } } },
    } or nil,
  }
end

-- XCN[Practitioner] as a reference.
function party.XCN()
  return function(rep)
    -- One doctor stands in several fields of most messages.
    local raw = rep:raw()
    local met = scope.people[raw]
    if met then return { reference = met.reference, display = met.display } end
    local value, family, given, middle, suffix, prefix, _, _, namespace, use, _, _, code = rep:unpack(13)
    local name, shown = names.of_person(rep, family, given, middle, suffix, prefix, use)
    if value == nil and name == nil then return nil end
    local id, known
    if value then
      local universal, universal_type
      if namespace == nil or rep:get(9, 2) then
        namespace, universal, universal_type = rep:unpack(3, 9)
      end
      id, known = identify(value, namespace, universal, universal_type, code and code_of(code),
                           "practitioner")
    end
    local out = refer("Practitioner", id, shown, known, practitioner, rep, name)
    if out.reference then scope.people[raw] = { reference = out.reference, display = shown } end
    return out
  end
end

local function named(_, name) return { name = name and { name } or nil } end

-- NDL and the older CM of OBR-32 to 35: a CNN in the first component, its parts
-- subcomponents (CNN[Practitioner]).
function party.NDL()
  return function(rep)
    local value = get(rep, 1, 1)
    local family, given, middle = get(rep, 1, 2), get(rep, 1, 3), get(rep, 1, 4)
    local suffix, prefix = get(rep, 1, 5), get(rep, 1, 6)
    local shown = family
    if given then shown = shown and given .. " " .. shown or given end
    if value == nil and shown == nil then return nil end
    local id, known
    if value then
      id, known = identify(value, get(rep, 1, 9), get(rep, 1, 10), get(rep, 1, 11), nil, "practitioner")
    end
    return refer("Practitioner", id, shown, known, named, rep, shown and {
      family = family, given = given and { given, middle } or nil,
      suffix = suffix and { suffix } or nil, prefix = prefix and { prefix } or nil,
    })
  end
end

local function organization(_, name) return { name = name } end

-- XON[Organization] as a reference. XON.10 replaced XON.3 as the identifier in 2.5.
function party.XON()
  return function(rep)
    local name = get(rep, 1)
    local value = get(rep, 10) or get(rep, 3)
    if value == nil then return name and { display = name } or nil end
    local id, known = identify(value, get(rep, 6, 1), get(rep, 6, 2), get(rep, 6, 3),
                               code_of(get(rep, 7)), "organization")
    return refer("Organization", id, name, known, organization, rep, name)
  end
end

-- XON[string]
function party.XON_string()
  return function(rep) return get(rep, 1) or get(rep, 10) end
end

-- CWE[Organization], for a producer's id (OBX-15).
function party.CWE_Organization()
  return function(rep)
    local value, name, system = get(rep, 1), get(rep, 9) or get(rep, 2), get(rep, 3)
    if value == nil then return name and { display = name } or nil end
    local id, known = identify(value, system, nil, nil, nil, "organization")
    return refer("Organization", id, name, known, organization, rep, name)
  end
end

-- How a person writes a place: point of care, room, bed, then the facility.
local function place_name(rep)
  local out
  for i = 1, 3 do
    local part = get(rep, i)
    if part then out = out and out .. " " .. part or part end
  end
  local facility = get(rep, 4)
  if facility then out = out and out .. ", " .. facility or facility end
  return out or get(rep, 9)
end

local PHYSICAL_TYPE = "http://terminology.hl7.org/CodeSystem/location-physical-type"

local function location(rep, shown)
  local kind = get(rep, 3) and "bd" or get(rep, 2) and "ro" or nil
  return { name = shown, mode = "instance", description = get(rep, 9),
           physicalType = kind and fhir.concept(PHYSICAL_TYPE, kind) or nil }
end

-- PL[Location] as Encounter.location. Room and bed numbers are nobody's identifiers
-- alone, so a place is a Location resource only when PL.10 identifies it.
function party.PL(row)
  local status = row.status
  return function(rep)
    local shown = place_name(rep)
    local value = get(rep, 10, 1)
    if shown == nil and value == nil then return nil end
    local id, known
    if value then
      id, known = identify(value, get(rep, 10, 2) or get(rep, 11, 1), get(rep, 10, 3) or get(rep, 11, 2),
                           get(rep, 10, 4) or get(rep, 11, 3), nil, "location")
    end
    local kind = get(rep, 3) and "bd" or get(rep, 2) and "ro" or nil
    return {
      location = refer("Location", id, shown, known, location, rep, shown),
      status = status,
      physicalType = kind and fhir.concept(PHYSICAL_TYPE, kind) or nil,
    }
  end
end

-- A place as a plain reference, such as a destination.
function party.PL_reference()
  return function(rep)
    local shown = place_name(rep)
    return shown and { display = shown } or nil
  end
end

-- DLD[Location-Discharge]
function party.DLD()
  return function(rep)
    local shown = get(rep, 1, 2) or get(rep, 1)
    return shown and { display = shown } or nil
  end
end

return party

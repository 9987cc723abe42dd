-- Identifiers: CX, EI, EIP, ST and DLN. The systems are those of promise P7, see
-- lib/identity.lua; CX[Identifier] of the guide gives the namespace itself, which
-- is no URI and not unique.
--
-- Of the row they use
--   kind     the identifier's type code, where the message gives none; it also
--            names the system when there is no authority
--   type     false: do not write Identifier.type from `kind`
local fhir     = require "fhir"
local identity = require "identity"
local text     = require "text"
local time     = require "datatypes.time"

local get, clean, code_of = text.get, text.clean, text.code
local SD = fhir.SD

local identifier = { of_text = {} }

-- CX rows 4 to 7.
local function check_digit(digit, scheme)
  return {
    { url = SD .. "identifier-checkDigit", valueString = digit },
    scheme and { url = SD .. "namingsystem-checkDigit", valueString = scheme } or nil,
  }
end

-- CX[Identifier]
function identifier.CX(row)
  local kind, typed = row.kind, row.type ~= false
  return function(rep)
    local value, digit, scheme, namespace, code, _, from, to = rep:unpack(8)
    if value == nil then return nil end
    local id, id_type
    -- The parts of an authority that is more than a name, or has none.
    if namespace == nil or rep:get(4, 2) then
      namespace, id, id_type = rep:unpack(3, 4)
    end
    code = code and code_of(code)
    local shown = code or (typed and kind) or nil
    return {
      value  = value,
      system = identity.system(namespace, id, id_type, code or kind),
      type   = shown and fhir.identifier_type(shown),
      -- CX row 8: the authority may be an organisation; its name stays readable.
      assigner  = namespace and { display = namespace } or nil,
      extension = digit and check_digit(digit, scheme) or nil,
      period    = (from or to) and time.period(from, to) or nil,
    }
  end
end

-- EI: entity, namespace, universal id, its type. `at` is the first component, for
-- the halves of EIP that are subcomponents.
local function entity(value, namespace, id, id_type, kind, typed)
  if value == nil then return nil end
  return {
    value  = value,
    system = identity.system(namespace, id, id_type, kind),
    type   = kind and typed and fhir.identifier_type(kind) or nil,
  }
end

-- EI[Identifier-Extension]
function identifier.EI(row)
  local kind, typed = row.kind, row.type ~= false
  return function(rep)
    local value, namespace, id, id_type = rep:unpack(4)
    return entity(value, namespace, id, id_type, kind, typed)
  end
end

-- EIP[Identifier-PlacerAssignedIdentifier] and -FillerAssignedIdentifier: the
-- row's `half` is 1 or 2.
function identifier.EIP(row)
  local half, kind, typed = row.half, row.kind, row.type ~= false
  return function(rep)
    local value, namespace, id, id_type = rep:unpack(4, half)
    return entity(value, namespace, id, id_type, kind, typed)
  end
end

-- DLN[Identifier]: number, issuing state, until.
function identifier.DLN()
  return function(rep)
    local value = get(rep, 1)
    if value == nil then return nil end
    local out = entity(value, get(rep, 2), nil, nil, "DL", true)
    local to = get(rep, 3)
    if to then out.period = time.period(nil, to) end
    return out
  end
end

-- ST[Identifier] with a fixed system, such as the social security number in PID-19.
function identifier.of_text.Identifier(row)
  local system, kind = row.system, row.kind
  return function(value)
    value = clean(value)
    if value == nil then return nil end
    return { value = value, system = system or identity.system(nil, nil, nil, kind),
             type = kind and fhir.identifier_type(kind) or nil }
  end
end

return identifier

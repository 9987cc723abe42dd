-- Who is who: systems of identifiers, deterministic ids, searches (promise P7).
--
-- Every identifier that we write has a system, so that two hospitals' MRN 12345
-- stay two patients:
--
--   1. the setting `systems`, by namespace or universal id
--   2. the assigning authority's universal id: urn:oid:, urn:uuid:, a URI
--   3. its namespace:       urn:interop:<tenant>:<namespace>
--   4. no authority at all: urn:interop:<tenant>:<connector>:<type code or "id">
local host  = require "host"
local scope = require "scope"
local urn   = require "urn"

local uuid5 = host.uuid5
local find, lower, concat, token = string.find, string.lower, table.concat, urn.token

local identity = {}

local function is_oid(text)
  return find(text, "^[0-2]%.%d[%d.]*%d$") and not find(text, "%.%.") and not find(text, "%.0%d")
end

local function is_uuid(text)
  return #text == 36 and find(text, "^%x+%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x+$")
end

-- The URI of a universal id, or nil when it is none that stands for itself.
local function universal(id, id_type)
  if is_oid(id) and (id_type == nil or id_type == "ISO") then return "urn:oid:" .. id end
  if is_uuid(id) then return "urn:uuid:" .. lower(id) end
  if find(id, "^%a[%w+.-]*:%S+$") then return id end
  -- RFC 4501; HD[uri] of the guide gives the bare name, which is no absolute URI.
  if id_type == "DNS" and not find(id, "[^%w.-]") then return "dns:" .. id end
  return nil
end

-- The system for what an authority (HD: namespace, universal id, its type)
-- assigned. `kind` is the identifier's type code, for those without authority.
function identity.system(namespace, id, id_type, kind)
  if id == nil and namespace ~= nil then
    local known = scope.systems[namespace]
    if known then return known end
  end
  local settings = scope.settings.systems
  local uri
  if settings then uri = (namespace and settings[namespace]) or (id and settings[id]) end
  if not uri and id then uri = universal(id, id_type) end
  if not uri then
    local name = namespace or id
    if name then
      -- Senders put the OID itself into the namespace.
      uri = universal(name) or scope.tenant_urn .. token(name)
    else
      uri = identity.own_system(kind or "id")
    end
  end
  if id == nil and namespace ~= nil then scope.systems[namespace] = uri end
  return uri
end

-- The system of identifiers that this connector's messages give no authority for,
-- and of those that we derive.
function identity.own_system(kind)
  return scope.connector_urn .. token(kind)
end

-- A name for things of this connector that is the same for the same parts.
function identity.digest(...)
  return uuid5(concat({ scope.tenant, scope.connector, ... }, "\n"))
end

function identity.full_url(resource_type, system, value)
  return "urn:uuid:" .. uuid5(scope.tenant .. "\n" .. scope.connector .. "\n" .. resource_type
                              .. "\n" .. system .. "|" .. value)
end

-- The search that finds a resource by its identifier, for ifNoneExist.
function identity.search(system, value)
  local known = scope.queries[system]
  if not known then
    known = "identifier=" .. urn.query(system) .. "%7C"
    scope.queries[system] = known
  end
  return known .. urn.search_value(value)
end

-- An identifier of our own for what the message gives none: `kind` names the
-- thing, the other arguments are what makes it this one and no other.
function identity.derived(kind, ...)
  return { system = identity.own_system(kind), value = identity.digest(kind, ...) }
end

return identity

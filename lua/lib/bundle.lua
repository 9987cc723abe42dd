-- The resources of one message, with what each needs to be delivered: its
-- full_url, whether the message owns it, and the search that finds it.
--
--   bundle:one "Patient"        the first, or raises
--   bundle:first "Encounter"    the first, or nil
--   bundle:all "Observation"    an array of all of them
--   for obs in bundle:each "Observation" do … end
--   bundle:add(resource, { owned = true, if_none_exist = "identifier=…" })
--   bundle:entry(resource)      the entry that carries it, to change its options
--   bundle:remove(resource)
local identity = require "identity"

local Bundle = {}
Bundle.__index = Bundle

local bundle = {}

function bundle.new()
  return setmetatable({ entries = {}, by_url = {} }, Bundle)
end

local function add(self, entry)
  local url = entry.full_url
  if url then
    if self.by_url[url] then error("two resources with the same identity in one message", 3) end
    self.by_url[url] = entry
  end
  self.entries[#self.entries + 1] = entry
  return entry
end

-- Options as out:put takes them: owned, if_none_exist, full_url, to. A resource
-- without a full_url gets one from its first identifier, or else from its place.
function Bundle:add(resource, opts)
  opts = opts or {}
  local kind = resource.resourceType
  if type(kind) ~= "string" then error("bundle:add wants a resource with a resourceType", 2) end
  local id  = resource.identifier
  id = id and (id[1] or id)
  local url, search = opts.full_url, opts.if_none_exist
  if id and id.system and id.value then
    url    = url or identity.full_url(kind, id.system, id.value)
    search = search or identity.search(id.system, id.value)
  end
  url = url or "urn:uuid:" .. identity.digest(kind, "place", tostring(#self.entries + 1))
  return add(self, { resource = resource, full_url = url, if_none_exist = search,
                     owned = opts.owned or false, to = opts.to })
end

-- The short way for the maps: identity is known, nothing is looked up.
function Bundle:put(resource, full_url, if_none_exist, owned)
  return add(self, { resource = resource, full_url = full_url, if_none_exist = if_none_exist,
                     owned = owned })
end

-- The entry with this full_url, or nil.
function Bundle:find(full_url) return self.by_url[full_url] end

function Bundle:first(kind)
  local entries = self.entries
  for i = 1, #entries do
    if entries[i].resource.resourceType == kind then return entries[i].resource end
  end
  return nil
end

function Bundle:one(kind)
  return self:first(kind) or error("no " .. kind .. " in the bundle", 2)
end

function Bundle:all(kind)
  local found, entries = {}, self.entries
  for i = 1, #entries do
    local resource = entries[i].resource
    if resource.resourceType == kind then found[#found + 1] = resource end
  end
  return found
end

function Bundle:each(kind)
  local i, found = 0, self:all(kind)
  return function()
    i = i + 1
    return found[i]
  end
end

function Bundle:entry(resource)
  local entries = self.entries
  for i = 1, #entries do
    if entries[i].resource == resource then return entries[i], i end
  end
  return nil
end

-- Takes a resource out. References to it are the script's to mend.
function Bundle:remove(resource)
  local entry, at = self:entry(resource)
  if not entry then return nil end
  if entry.full_url then self.by_url[entry.full_url] = nil end
  table.remove(self.entries, at)
  return resource
end

return bundle

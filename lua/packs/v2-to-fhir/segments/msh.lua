-- MSH -> MessageHeader, as MSH[MessageHeader] of the guide; written when the setting
-- `message_header` is true.
local fhir     = require "fhir"
local identity = require "identity"
local text     = require "text"

local get = text.get

-- HD: where it can be addressed, and what it is called.
local function endpoint(rep)
  local namespace, id, id_type = get(rep, 1), get(rep, 2), get(rep, 3)
  if namespace == nil and id == nil then return nil end
  return { name = namespace or id, endpoint = identity.system(namespace, id, id_type) }
end

local function organization(rep)
  local shown = get(rep, 1) or get(rep, 2)
  return shown and { display = shown } or nil
end

return {
  segment = "MSH", resource = "MessageHeader", guide = "MSH[MessageHeader]",

  after = function(seg, header)
    -- source.endpoint is required: what nobody named is this connector (row 33).
    header.source = seg:one(24, endpoint) or seg:one(3, endpoint)
                    or { endpoint = identity.own_system "source" }
    header.sender = seg:one(4, organization)
    local destination = seg:one(25, endpoint) or seg:one(5, endpoint)
    local receiver = seg:one(23, organization) or seg:one(6, organization)
    if destination then
      destination.receiver = receiver
      header.destination = { destination }
    end
    header.responsible = seg:one(22, organization)
    header.eventCoding = { system = fhir.V2 .. "0003", code = text.code(seg:get "9.2"),
                           display = text.clean(seg:raw(9)) }
  end,
}

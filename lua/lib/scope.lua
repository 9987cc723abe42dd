-- What the functions of the library need to know of the message at hand.
--
-- A state runs one message at a time, so this is one table that v2.begin fills
-- anew for each. Datatype functions read it instead of taking it as an argument:
-- that is what lets a script write `pid:all(5, v2.human_name)`.
local null = require("host").null
local urn  = require "urn"

local scope = {
  tenant    = nil,          -- names, for systems and deterministic ids (promise P7)
  connector = nil,
  settings  = nil,
  msg       = nil,
  bundle    = nil,          -- where references put their resources; nil outside of v2.map
  owns      = false,        -- this message's owner of Patient and Encounter: HL7 null deletes
  systems   = nil,          -- namespace -> URI, found in this message
  people    = nil,          -- XCN as sent -> reference, within this message
  queries   = nil,          -- system -> how a search by it begins
  tenant_urn    = nil,      -- "urn:interop:<tenant>:"
  connector_urn = nil,      -- "urn:interop:<tenant>:<connector>:"
  map       = nil,          -- the segment map at work, and the number of its row,
  row       = nil,          -- for the error that names them
}

scope.null = null

function scope.begin(msg)
  local settings = msg.settings or {}
  scope.msg, scope.bundle = msg, nil
  scope.settings = settings
  scope.tenant, scope.connector = msg.tenant or "none", msg.connector or "none"
  scope.tenant_urn = "urn:interop:" .. urn.token(scope.tenant) .. ":"
  scope.connector_urn = scope.tenant_urn .. urn.token(scope.connector) .. ":"
  scope.systems, scope.people, scope.queries = {}, {}, {}
  scope.owns, scope.map, scope.row = false, nil, nil
end

-- "PID-8", or nil outside of a segment map.
function scope.where()
  local map = scope.map
  if not map then return nil end
  local row = map[scope.row]
  if not row or not row[1] then return map.segment end
  return map.segment .. "-" .. row[1]
end

return scope

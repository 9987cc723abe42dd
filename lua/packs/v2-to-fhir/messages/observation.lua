-- OBX -> Observation with its identity, for all messages that have one.
--
-- A result is known by its order's filler number (or what stands for it: `place.key`),
-- OBX-3 and OBX-4, so that a corrected result updates its Observation.
local common = require "messages.common"
local text   = require "text"
local time   = require "datatypes.time"
local v2     = require "v2"

local rows = v2.segment "segments.obx"
local clean = text.clean

local observation = {}

-- `place`: who, visit (known or nil), key, and for results of an order
--   effective   OBR-7's text, for those without OBX-14
--   status      of the report, for those without OBX-11
--   timed       OBX-14 is part of the identity (observations outside of an order)
function observation.map(obx, place)
  -- Named here, the elements have their room from the beginning.
  local out = rows(obx, {
    resourceType = "Observation", identifier = nil, status = nil, code = nil, subject = nil,
    encounter = nil, effectiveDateTime = nil, valueQuantity = nil, interpretation = nil,
    referenceRange = nil, performer = nil, specimen = nil, extension = nil,
  })
  out.subject   = common.refer(place.who)
  out.encounter = common.refer(place.visit)
  if out.status == nil then out.status = place.status or "unknown" end
  if out.effectiveDateTime == nil and out._effectiveDateTime == nil and place.effective then
    out.effectiveDateTime, out._effectiveDateTime = time.datetime(place.effective)
  end

  local code = clean(obx:get(3)) or clean(obx:get "3.2") or ""
  local system = clean(obx:get "3.3") or ""
  local sub_id = clean(obx:raw(4)) or ""
  local when = place.effective == nil and clean(obx:get(14)) or ""
  local key = table.concat({ place.key, system, code, sub_id, when }, "\n")
  -- Reports come as many OBX with the same OBX-3 and no OBX-4: by their order.
  place.seen = place.seen or {}
  local turn = (place.seen[key] or 0) + 1
  place.seen[key] = turn
  local id = common.derive(out, "observation", key, turn > 1 and tostring(turn) or "")
  return common.known_by(out, id)
end

return observation

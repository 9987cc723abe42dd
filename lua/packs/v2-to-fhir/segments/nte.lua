-- NTE -> Annotation, as NTE[Observation] and NTE[ServiceRequest] of the guide. The
-- repetitions of NTE-3 are the lines of one comment.
local party = require "datatypes.party"
local text  = require "text"
local time  = require "datatypes.time"

local author = party.XCN {}
local function line(rep) return text.whole(rep) or "" end

-- An Annotation, or nil for an empty comment.
return function(seg)
  local lines = seg:all(3, line)
  local words = lines and text.clean(table.concat(lines, "\n"))
  if words == nil then return nil end
  return { text = words, authorReference = seg:one(5, author), time = (time.datetime(seg:get(6))) }
end

-- Every message: mapped by messages/index.lua, or left alone with the reason.
local v2 = require "v2"

-- All maps now, while the pack is loaded, rather than within a message's budget.
for _, module in pairs(require "messages.index") do require(module) end

return function(msg, out)
  local mapped, why = v2.mapped(msg)
  if not mapped then return out:skip(why) end
  out:put(v2.map(msg))
end

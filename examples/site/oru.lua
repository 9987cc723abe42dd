-- Results: as the stock pack maps them. A critical value is told at once; the event
-- names the test and the order, never the patient.
local v2 = require "v2"

local CRITICAL = { HH = true, LL = true, AA = true }

return function(msg, out)
  local bundle = v2.map(msg)
  if msg.settings.ward_alerts then
    for obx in msg:each "OBX" do
      if CRITICAL[obx:get(8)] then
        out:event("lab.critical", { code = obx:get "3.1", flag = obx:get(8), order = msg:get "OBR-3" })
      end
    end
  end
  out:put(bundle)
end

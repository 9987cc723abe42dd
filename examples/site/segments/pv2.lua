-- PV2 as the stock pack has it, with one row replaced and one added: here the reason
-- for admission comes as plain text, and PV2-24 says how urgent it is.
local v2   = require "v2"
local base = require "packs.v2-to-fhir.segments.pv2"

return v2.override(base, {
  { 3,  "reasonCode[]", "ST", at = "text" },
  { 24, "priority", "CWE", vocab = "urgency" },
})

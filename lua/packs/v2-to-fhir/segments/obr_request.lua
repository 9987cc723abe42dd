-- OBR -> ServiceRequest, as OBR[ServiceRequest] of the guide. Where an ORC is there
-- its rows (orc.lua) come first, and these fill what it left open.
local fhir = require "fhir"

return {
  segment = "OBR", resource = "ServiceRequest", guide = "OBR[ServiceRequest]",

  { 53, "identifier[]", "CX", kind = "PLAC", row = "70-72" },
  { 4,  "code", "CWE", row = "12" },
  { 5,  "priority", "code", vocab = "RequestPriority", row = "13" },
  { 6,  "occurrenceDateTime", "DTM", row = "14" },
  { 13, "supportingInfo[]", "CWE.string", at = "display", row = "23-24" },
  { 16, "requester", "XCN", missing = true, row = "28" },
  { 17, "extension[]", "XTN", url = fhir.SD .. "servicerequest-order-callback-phone-number",
        at = "valueContactPoint", row = "29-30" },
  { 31, "reasonCode[]", "CWE", row = "48" },
  { 46, "orderDetail[]", "CWE", row = "63" },
  { 47, "orderDetail[]", "CWE", row = "64" },
  { nil, "intent", value = "order", missing = true, row = "3, 21" },

  after = function(seg, request)
    -- Row 20. "#add-on#" of row 19 is no code of R4; an added test is an order.
    if seg:get(11) == "G" then request.intent = "reflex-order" end
    -- prr-1: details need a code to be details of.
    if request.code == nil then request.orderDetail = nil end
  end,
}

-- ORC -> ServiceRequest, as ORC[ServiceRequest] of the guide, as far as results need
-- it. Identifiers are put by messages/oru.lua, which has both ORC and OBR.
local fhir = require "fhir"

local V2, SD = fhir.V2, fhir.SD

return {
  segment = "ORC", resource = "ServiceRequest", guide = "ORC[ServiceRequest]",

  { nil, "intent", value = "order", row = "4" },
  { 1,  "status", "code", vocab = "OrderControl", when = "5 not valued", row = "3" },
  { 5,  "status", "code", vocab = "OrderStatus", row = "24" },
  { 9,  "authoredOn", "DTM", when = "1 = NW", row = "28" },
  { 12, "requester", "XCN", row = "34" },
  { 14, "extension[]", "XTN", url = SD .. "servicerequest-order-callback-phone-number",
        at = "valueContactPoint", row = "36-37" },
  { 16, "extension[]", "CWE", system = V2 .. "0949", url = SD .. "request-statusReason",
        at = "valueCodeableConcept", when = "5 not valued", row = "39-40" },
  { 29, "locationCode[]", "CWE", vocab = "OrderType", system = V2 .. "0482", row = "54" },

  after = function(_, request)
    -- Order controls that say nothing of a status, such as RE, leave it to OBR-25.
    request._status = nil
  end,
}

-- Which map takes which message: by type and event, then by structure (MSH-9.3) for
-- events that are not named here. A pack that builds on this one shadows the file
-- to add its own.
local adt = "messages.adt"
local oru = "messages.oru"

return {
  -- Admit, register, update: structure ADT_A01
  ["ADT^A01"] = adt, ["ADT^A04"] = adt, ["ADT^A08"] = adt, ["ADT^A13"] = adt, ["ADT_A01"] = adt,
  -- Discharge; person information: ADT_A03, ADT_A05
  ["ADT^A03"] = adt, ["ADT_A03"] = adt,
  ["ADT^A05"] = adt, ["ADT^A14"] = adt, ["ADT^A28"] = adt, ["ADT^A31"] = adt, ["ADT_A05"] = adt,
  -- Transfer: ADT_A02; change of class: ADT_A06
  ["ADT^A02"] = adt, ["ADT_A02"] = adt,
  ["ADT^A06"] = adt, ["ADT^A07"] = adt, ["ADT_A06"] = adt,
  -- Tracking, and cancellations: ADT_A09
  ["ADT^A09"] = adt, ["ADT^A10"] = adt, ["ADT^A11"] = adt, ["ADT^A12"] = adt,

  ["ORU^R01"] = oru, ["ORU_R01"] = oru,
}

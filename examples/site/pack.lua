-- The pack of one hospital: the stock pack, adjusted. What it has no handler for
-- goes to the stock pack's.
return {
  name    = "site",
  version = "1.0.0",
  uses    = { "v2-to-fhir" },
  handlers = {
    ["ADT"]     = "adt",
    ["ORU^R01"] = "oru",
  },
  settings = {
    -- Namespaces of this hospital, and the systems that everybody knows them by.
    systems = { type = "table", default = { NORTHHOSP = "https://north.example/ids" } },
    ward_alerts = { type = "boolean", default = true },
  },
}

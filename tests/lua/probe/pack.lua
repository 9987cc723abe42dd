-- Asks the library what the Bundles do not show; an assertion that fails is the
-- message's failure.
return {
  name = "probe", version = "1.0.0", uses = { "v2-to-fhir" },
  handlers = { ["ADT^A08"] = "a08", ["ADT^A04"] = "a04" },
}

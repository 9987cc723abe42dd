-- A datatype that raises, for the error that names segment and field.
return { name = "failing", version = "1.0.0", uses = { "v2-to-fhir" } }

-- The stock pack: HL7 v2 to FHIR R4 as the HL7 v2-to-FHIR implementation guide says.
return {
  name     = "v2-to-fhir",
  version  = "0.1.0",
  handlers = { ["*"] = "handler" },
  settings = {
    systems        = { type = "table", default = {},
                       help = "the system's URI for a namespace or universal id" },
    message_header = { type = "boolean", default = false,
                       help = "write a MessageHeader for each message" },
  },
}

-- What all messages share: the patient and the visit, who owns them, and how they
-- are found again (promises P4 and P7).
local datatype = require "datatypes.identifier"
local identity = require "identity"
local scope    = require "scope"
local text     = require "text"
local v2       = require "v2"

local pid_rows     = v2.segment "segments.pid"
local pd1_rows     = v2.segment "segments.pd1"
local contact_rows = v2.segment "segments.nk1"
local person_rows  = v2.segment "segments.nk1_person"
local pv1          = require "segments.pv1"
local pv1_rows     = v2.segment(pv1)
local pv2_rows     = v2.segment "segments.pv2"
local msh_rows     = v2.segment "segments.msh"

local account_number = datatype.CX { kind = "AN" }
local clean = text.clean

local common = {}

-- What a resource is known by: `key` is unique within the tenant, for the derived
-- ids of what hangs on it.
local function known_by(resource, id)
  local kind = resource.resourceType
  local url = identity.full_url(kind, id.system, id.value)
  return {
    resource = resource, url = url, search = identity.search(id.system, id.value),
    key = id.system .. "|" .. id.value, reference = { reference = url },
  }
end
common.known_by = known_by

-- A reference of its own for each place: a script may change one.
function common.refer(known) return known and { reference = known.url } or nil end

-- Puts what is known into the bundle, once.
function common.put(bundle, known, owned)
  if bundle:find(known.url) then return false end
  bundle:put(known.resource, known.url, known.search, owned)
  return true
end

-- An identifier of our own is added, for what the message identifies by its place.
function common.derive(resource, kind, ...)
  local id = identity.derived(kind, ...)
  local list = resource.identifier
  if list then list[#list + 1] = id else resource.identifier = { id } end
  return id
end

-- This message and no other, for what nothing identifies. The control id alone is
-- used again by senders that reset their counters.
function common.message_key(msg)
  return (msg.control_id or "") .. "|" .. (clean(msg:get "MSH-7") or "")
end

-- ---- the patient ----------------------------------------------------------

-- The identifier by which this patient is found: a medical record number before
-- a patient internal identifier before the first of all, PID-3 before the others.
local function patient_identifier(list)
  local internal
  for i = 1, list and #list or 0 do
    local coding = list[i].type and list[i].type.coding[1].code
    if coding == "MR" then return list[i] end
    if coding == "PI" then internal = internal or list[i] end
  end
  return internal or (list and list[1])
end

-- The Patient of a PID, not yet in the bundle.
function common.patient(msg, pid)
  -- Named here, the elements have their room from the beginning.
  local patient = pid_rows(pid, {
    resourceType = "Patient", identifier = nil, name = nil, birthDate = nil, gender = nil, address = nil,
    telecom = nil, extension = nil, communication = nil, maritalStatus = nil, contact = nil,
    generalPractitioner = nil, deceasedBoolean = nil, multipleBirthBoolean = nil,
  })
  local id = patient_identifier(patient.identifier)
             or common.derive(patient, "message", "Patient", common.message_key(msg), tostring(pid.index))
  return known_by(patient, id)
end

function common.pd1(seg, who) pd1_rows(seg, who.resource) end

-- The guide's rows for NK1: codes that say organisation stay with the Patient,
-- everybody else is a RelatedPerson, too.
local ORGANIZATION = { EMR = true, E = true, F = true, I = true, S = true }

-- A contact of the Patient, and the RelatedPerson or nil, not yet in the bundle.
function common.next_of_kin(seg, who)
  local patient = who.resource
  local contact = contact_rows(seg, {})
  -- pat-1: a contact has a way to reach it, or an organisation.
  if contact.name or contact.telecom or contact.address or contact.organization then
    local list = patient.contact
    if list then list[#list + 1] = contact else patient.contact = { contact } end
  end
  local role = clean(seg:get(3))
  if role and ORGANIZATION[role] then return nil end
  local person = person_rows(seg, { resourceType = "RelatedPerson" })
  if not (person.name or person.telecom or person.identifier) then return nil end
  person.patient = common.refer(who)
  local id = person.identifier and person.identifier[1]
             or common.derive(person, "related-person", who.key, seg:raw(2) or "", role or "")
  return known_by(person, id)
end

-- ---- the visit ------------------------------------------------------------

-- PV1-2 "N" stands for "no visit" where the structure demands a PV1 (A28, A31).
local function says_nothing(seg)
  local class = clean(seg:get(2))
  if class and class ~= "N" then return false end
  for _, n in ipairs { 3, 7, 19, 44, 45, 50 } do
    if seg:count(n) > 0 then return false end
  end
  return true
end

-- The Encounter of a PV1 (and PV2), or nil when they tell of no visit. The same
-- visit is the same Encounter in A01, A08 and A03: by its number, else by the
-- account, else by the patient and the time of admission, else by the message.
function common.encounter(msg, event, seg, extra, pid, who)
  if says_nothing(seg) then return nil end
  local encounter = pv1_rows(seg, {
    resourceType = "Encounter", identifier = nil, status = nil, class = nil, type = nil, subject = nil,
    serviceType = nil, participant = nil, period = nil, hospitalization = nil, location = nil,
    diagnosis = nil, account = nil, reasonCode = nil,
  })
  if extra then pv2_rows(extra, encounter) end
  encounter.status  = pv1.status(seg, event)
  encounter.subject = common.refer(who)
  local id
  if clean(seg:get(19)) then
    id = encounter.identifier[1]
  else
    id = pid:one(18, account_number)
    if id then
      encounter.identifier = encounter.identifier or {}
      table.insert(encounter.identifier, id)
    else
      local admitted = clean(seg:get(44))
      id = admitted and common.derive(encounter, "encounter", who.key, admitted)
           or common.derive(encounter, "message", "Encounter", common.message_key(msg), who.key)
    end
  end
  return known_by(encounter, id)
end

-- PID[Account]: PID-18, not yet in the bundle.
function common.account(pid, who)
  local id = pid:one(18, account_number)
  if id == nil then return nil end
  return known_by({ resourceType = "Account", status = "active", identifier = { id },
                    subject = { common.refer(who) } }, id)
end

-- ---- the message ----------------------------------------------------------

-- MessageHeader, when the setting asks for it. R4 has no search by which a second
-- one would be found, so a delivery that is repeated outside of a transaction
-- makes a second.
function common.header(msg, bundle, focus)
  if not scope.settings.message_header then return end
  local header = msh_rows(msg:one "MSH", { resourceType = "MessageHeader" })
  header.focus = {}
  for _, known in ipairs(focus) do header.focus[#header.focus + 1] = common.refer(known) end
  local url = "urn:uuid:" .. identity.digest("MessageHeader", common.message_key(msg))
  bundle:put(header, url, nil, false)
end

return common

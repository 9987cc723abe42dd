-- ORU^R01 -> DiagnosticReport and Observation, with ServiceRequest and Specimen.
--
-- The groups of ORU_R01 are read by what each segment means rather than by a grammar,
-- since the field's order differs: SPM before or after the OBX, one ORC for several
-- OBR, NTE anywhere.
--
--   PID           a patient's results begin
--   ORC           belongs to the next OBR
--   OBR           a report begins; the OBX, NTE, SPM that follow belong to it
--   OBX           a result; before any OBR of the patient's; behind the SPM that
--                 follows results, of the specimen
--   NTE           comments on what stands before it
--
-- A laboratory does not own the patient or the visit: they are created where they
-- are not known, and referred to. The PATIENT group is optional (chapter 7: quality
-- control, environmental samples): such results have no subject.
local common       = require "messages.common"
local datatype     = require "datatypes.identifier"
local fhir         = require "fhir"
local note_of      = require "segments.nte"
local observations = require "messages.observation"
local scope        = require "scope"
local text         = require "text"
local v2           = require "v2"
local value        = require "segments.obx_value"

local report_rows   = v2.segment "segments.obr"
local request_rows  = v2.segment "segments.obr_request"
local order_rows    = v2.segment "segments.orc"
local source_rows   = v2.segment "segments.obr_specimen"
local specimen_rows = v2.segment "segments.spm"

local placer = datatype.EI { kind = "PLAC" }
local filler = datatype.EI { kind = "FILL" }
local group  = datatype.EI { kind = "PGN" }

local clean = text.clean
local NOTE = "http://hl7.org/fhir/5.0/StructureDefinition/extension-DiagnosticReport.note"

local function append(resource, name, item)
  if item == nil then return end
  local list = resource[name]
  if list then list[#list + 1] = item else resource[name] = { item } end
end

local function mark(id) return id and id.system .. "|" .. id.value or nil end

-- ---- the order ------------------------------------------------------------

-- What the result says of the order's state when ORC does not.
local BY_REPORT = { F = "completed", C = "completed", X = "revoked" }

-- ServiceRequest, for an ORC or a placer's number or somebody who ordered.
local function request_of(state, obr, orc, ids)
  if not state.who then return nil end             -- ServiceRequest.subject is 1..1
  if not (orc or ids.placer or obr:count(16) > 0) then return nil end
  local request = { resourceType = "ServiceRequest" }
  for _, id in ipairs { ids.placer or false, ids.filler or false } do
    if id then append(request, "identifier", fhir.copy(id)) end
  end
  if orc then
    order_rows(orc, request)
    request.requisition = orc:one(4, group)
  end
  request_rows(obr, request)
  if request.status == nil then
    request.status = BY_REPORT[clean(obr:get(25)) or ""] or "active"
  end
  request.subject   = common.refer(state.who)
  request.encounter = common.refer(state.visit)

  -- By the placer's number, which is what the order itself was sent under. In one
  -- message two orders of that number differ by their code.
  local id = ids.placer or ids.filler
  local known = id and common.known_by(request, id)
  if not known or (state.bundle:find(known.url) and state.codes[known.url] ~= clean(obr:get(4))) then
    known = common.known_by(request, common.derive(request, "order", ids.key, clean(obr:get(4)) or ""))
  end
  state.codes[known.url] = clean(obr:get(4))
  common.put(state.bundle, known, false)
  return known
end

-- ---- specimens ------------------------------------------------------------

local function put_specimen(state, specimen)
  specimen.subject = common.refer(state.who)
  local id = specimen.identifier and specimen.identifier[1]
             or common.derive(specimen, "specimen", state.ids.key, tostring(#state.specimens + 1))
  local known = common.known_by(specimen, id)
  common.put(state.bundle, known, false)
  state.specimens[#state.specimens + 1] = known
  append(state.report.resource, "specimen", common.refer(known))
  return known
end

-- OBR's own specimen, when it tells of one and no SPM came.
local function specimen_of_order(state)
  local obr = state.obr
  if #state.specimens > 0 then return end
  for _, n in ipairs { 9, 10, 14, 15, 39 } do
    if obr:count(n) > 0 then
      return put_specimen(state, source_rows(obr, { resourceType = "Specimen" }))
    end
  end
end

-- ---- reports --------------------------------------------------------------

local function close_report(state)
  if not state.report then return end
  specimen_of_order(state)
  local report = state.report.resource
  local only = #state.specimens == 1 and state.specimens[1] or nil
  for _, result in ipairs(state.results) do
    local observation = result.resource
    if only and not observation.focus then observation.specimen = common.refer(only) end
    local forms = value.take_attachments(observation)
    for _, form in ipairs(forms or {}) do append(report, "presentedForm", form) end
    common.put(state.bundle, result, true)
  end
  common.put(state.bundle, state.report, true)
  state.reports[#state.reports + 1] = state.report
  state.report, state.obr, state.target = nil, nil, nil
end

-- The numbers of an order. Placer and filler may stand in ORC or OBR; when they
-- are in both they are the same (chapter 4: ORC-2 and OBR-2, ORC-3 and OBR-3).
local function numbers(state, msg, obr, orc)
  local ids = {
    placer = obr:one(2, placer) or (orc and orc:one(2, placer)),
    filler = obr:one(3, filler) or (orc and orc:one(3, filler)),
  }
  local code = clean(obr:get(4)) or clean(obr:get "4.2") or ""
  local base = mark(ids.filler) or mark(ids.placer)
  if base == nil then
    local at = clean(obr:get(7))
    base = at and state.who and state.who.key .. "\n" .. at or common.message_key(msg)
  end
  -- Laboratories use one filler number for all panels of a sample: the code tells
  -- them apart, and then their order.
  local key = base .. "\n" .. code
  local turn = (state.turns[key] or 0) + 1
  state.turns[key] = turn
  ids.key = turn > 1 and key .. "\n" .. turn or key
  return ids
end

local function open_report(state, msg, obr)
  local orc = state.orc
  state.orc = nil
  local ids = numbers(state, msg, obr, orc)
  local report = report_rows(obr, { resourceType = "DiagnosticReport" })
  -- ORC[DiagnosticReport]: the numbers that OBR does not have.
  if orc then
    if obr:count(2) == 0 then append(report, "identifier", orc:one(2, placer)) end
    if obr:count(3) == 0 then append(report, "identifier", orc:one(3, filler)) end
  end
  report.subject   = common.refer(state.who)
  report.encounter = common.refer(state.visit)
  state.obr, state.ids, state.results, state.specimens = obr, ids, {}, {}
  state.report = common.known_by(report, common.derive(report, "report", ids.key))
  state.request = request_of(state, obr, orc, ids)
  append(report, "basedOn", common.refer(state.request))
  state.place = { who = state.who, visit = state.visit, key = ids.key, effective = clean(obr:get(7)) or false,
                  status = report.status }
  state.target, state.of_specimen = "order", nil
end

-- ---- segments -------------------------------------------------------------

local on = {}

function on.PID(state, msg, seg)
  close_report(state)
  state.orc, state.visit, state.target = nil, nil, nil
  state.pid, state.who = seg, common.patient(msg, seg)
  state.loose = { who = state.who, key = state.who.key }
  state.patients[#state.patients + 1] = state.who
end

function on.PD1(state, _, seg)
  if state.who then common.pd1(seg, state.who) end
end

function on.NK1(state, _, seg)
  local person = state.who and common.next_of_kin(seg, state.who)
  if person then state.people[#state.people + 1] = person end
end

function on.PV1(state, _, seg) state.pv1 = seg end

function on.ORC(state, _, seg)
  close_report(state)
  state.orc = seg
end

function on.OBR(state, msg, seg)
  close_report(state)
  open_report(state, msg, seg)
end

function on.OBX(state, _, seg)
  if not state.report then
    -- The patient's own (2.7: PATIENT_OBSERVATION).
    local known = observations.map(seg, state.loose)
    common.put(state.bundle, known, true)
    state.target = known.resource
    return
  end
  local known = observations.map(seg, state.place)
  state.results[#state.results + 1] = known
  if state.of_specimen then
    known.resource.focus = { common.refer(state.of_specimen) }
  else
    append(state.report.resource, "result", common.refer(known))
  end
  state.target = known.resource
end

function on.SPM(state, _, seg)
  if not state.report then return end
  local specimen = specimen_rows(seg, { resourceType = "Specimen" })
  if #state.specimens == 0 then source_rows(state.obr, specimen) end
  local known = put_specimen(state, specimen)
  -- Behind the results come the specimen's own.
  if #state.results > 0 then state.of_specimen = known end
  state.target = known.resource
end

function on.NTE(state, _, seg)
  local note = state.target and note_of(seg)
  if not note then return end
  if state.target ~= "order" then
    append(state.target, "note", note)
  elseif state.request then
    append(state.request.resource, "note", note)
  else
    -- R4 has no DiagnosticReport.note; R5 has.
    append(state.report.resource, "extension", { url = NOTE, valueAnnotation = note })
  end
end

-- PV1 is mapped when PV2, if any, has been seen: at the first segment behind them.
local HEAD = { PID = true, PD1 = true, NK1 = true, NTE = true, PV1 = true, PV2 = true,
               PRT = true, ROL = true, ARV = true }

local function settle(state, msg)
  if state.settled then return end
  state.settled = true
  if not state.who then return end
  common.put(state.bundle, state.who, false)
  for _, person in ipairs(state.people) do common.put(state.bundle, person, false) end
  if state.pv1 then
    state.visit = common.encounter(msg, nil, state.pv1, state.pv2, state.pid, state.who)
    if state.visit then common.put(state.bundle, state.visit, false) end
    state.loose.visit = state.visit
  end
  state.people, state.pv1, state.pv2 = {}, nil, nil
end

return function(msg, bundle)
  scope.owns = false
  if not msg:has "PID" and not msg:has "OBR" then error("neither PID nor OBR: no result to map", 0) end
  local state = { bundle = bundle, people = {}, patients = {}, reports = {}, codes = {}, turns = {},
                  loose = { key = common.message_key(msg) } }
  for seg in msg:segments() do
    local name = seg.name
    if name == "PID" then
      settle(state, msg)
      on.PID(state, msg, seg)
      state.settled = false
    elseif name == "PV2" then
      state.pv2 = seg
    else
      if not HEAD[name] then settle(state, msg) end
      local handler = on[name]
      if handler then handler(state, msg, seg) end
    end
  end
  settle(state, msg)
  close_report(state)
  common.header(msg, bundle, #state.reports > 0 and state.reports or state.patients)
end

-- ADT -> Patient, Encounter and what is known of both: the structures ADT_A01,
-- ADT_A02, ADT_A05, ADT_A06, ADT_A09 and ADT_A11 of the guide, in one. ADT owns the
-- patient and the visit: it updates them, and HL7's null deletes.
local coded        = require "datatypes.coded"
local common       = require "messages.common"
local fhir         = require "fhir"
local note_of      = require "segments.nte"
local number       = require "datatypes.number"
local observations = require "messages.observation"
local scope        = require "scope"
local text         = require "text"
local v2           = require "v2"

local allergy_rows   = v2.segment "segments.al1"
local condition_rows = v2.segment "segments.dg1"

local clean = text.clean
local use_of  = coded.CodeableConcept { vocab = "DiagnosisType", system = fhir.V2 .. "0052" }
local rank_of = number.of_text.positiveInt()

-- The segments of the message, by name; NTE stays with what it follows.
local function sort(msg)
  local by_name, notes, last = {}, {}, nil
  for seg in msg:segments() do
    local name = seg.name
    if name == "NTE" then
      if last then
        notes[last] = notes[last] or {}
        table.insert(notes[last], seg)
      end
    else
      local list = by_name[name]
      if list then list[#list + 1] = seg else by_name[name] = { seg } end
      last = seg.index
    end
  end
  return by_name, notes
end

local function first(list) return list and list[1] end
local NONE = {}

local function allergies(segments, who, bundle)
  for _, seg in ipairs(segments or NONE) do
    local allergy = allergy_rows(seg, { resourceType = "AllergyIntolerance" })
    -- A line that names neither a substance nor a reaction is an empty form.
    if allergy.code or allergy.reaction then
      allergy.patient = common.refer(who)
      local id = common.derive(allergy, "allergy", who.key, clean(seg:get(3)) or seg:raw(3) or "",
                               allergy.code and "" or seg:raw(5) or "")
      common.put(bundle, common.known_by(allergy, id), true)
    end
  end
end

-- DG1 is the patient's Condition, and the Encounter's diagnosis (DG1[Encounter]).
local function diagnoses(segments, who, visit, bundle)
  for _, seg in ipairs(segments or NONE) do
    local condition = condition_rows(seg, { resourceType = "Condition" })
    if condition.code then
      condition.subject = common.refer(who)
      if visit then
        condition.category = { fhir.concept("http://terminology.hl7.org/CodeSystem/condition-category",
                                            "encounter-diagnosis") }
      end
      local id = condition.identifier and condition.identifier[1]
                 or common.derive(condition, "condition", who.key, visit and visit.key or "",
                                  clean(seg:get(3)) or "", clean(seg:get "3.2") or clean(seg:get(4)) or "")
      local known = common.known_by(condition, id)
      common.put(bundle, known, true)
      if visit then
        local list = visit.resource.diagnosis
        if list == nil or list == scope.null then
          list = {}
          visit.resource.diagnosis = list
        end
        list[#list + 1] = { condition = common.refer(known), use = seg:one(6, use_of),
                            rank = rank_of(seg:get(15)) }
      end
    end
  end
end

local function next_of_kin(segments, who)
  local people
  for _, seg in ipairs(segments or NONE) do
    local person = common.next_of_kin(seg, who)
    if person then
      people = people or {}
      people[#people + 1] = person
    end
  end
  return people or NONE
end

return function(msg, bundle, name)
  scope.owns = true
  local event = name:match "%^(%w+)"
  local pid = msg:one "PID"
  local by_name, notes = sort(msg)

  local who = common.patient(msg, pid)
  if by_name.PD1 then common.pd1(by_name.PD1[1], who) end
  local people = next_of_kin(by_name.NK1, who)
  common.put(bundle, who, true)
  for _, person in ipairs(people) do common.put(bundle, person, true) end

  local account = common.account(pid, who)
  if account then common.put(bundle, account, true) end

  local pv1 = first(by_name.PV1)
  local visit = pv1 and common.encounter(msg, event, pv1, first(by_name.PV2), pid, who)
  allergies(by_name.AL1, who, bundle)
  diagnoses(by_name.DG1, who, visit, bundle)
  if visit then
    if account then visit.resource.account = { common.refer(account) } end
    common.put(bundle, visit, true)
  end

  local place = { who = who, visit = visit, owned = true,
                  key = who.key .. "\n" .. (visit and visit.key or "") }
  for _, obx in ipairs(by_name.OBX or NONE) do
    local known = observations.map(obx, place)
    local observation = known.resource
    for _, nte in ipairs(notes[obx.index] or NONE) do
      local note = note_of(nte)
      if note then
        observation.note = observation.note or {}
        table.insert(observation.note, note)
      end
    end
    common.put(bundle, known, true)
  end
  common.header(msg, bundle, { who, visit })
end

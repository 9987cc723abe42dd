-- HL7 v2 to FHIR: what a script starts from.
--
--   local bundle = v2.map(msg)            the base pack's mapping, as a bundle
--   v2.mapped(msg)                        true, or false and why not
--   v2.override(map, { row, … })          a segment map with some rows replaced
--   v2.segment(map)                       a segment map as function(seg, resource)
--
-- and datatype functions, for pid:all(5, v2.human_name) and the like. Those are
-- usable after v2.map(msg) or v2.begin(msg), which tell them whose message it is.
local bundles = require "bundle"
local host    = require "host"
local rows    = require "rows"
local scope   = require "scope"
local text    = require "text"

local has_base, types = pcall(require, "datatypes.index")
if not has_base then
  error('the library maps by a base pack: write uses = { "v2-to-fhir" } in pack.lua (' .. tostring(types) .. ")", 0)
end

local find, match = string.find, string.match

local v2 = {}

-- ---- whole messages -------------------------------------------------------

-- The message's type as the maps name it. Until HL7 2.3 MSH-9 was the type alone,
-- and the event stood in EVN-1; an ORU has only ever had R01.
local function type_of(msg)
  local name = msg.type
  if name and find(name, "^[^^]+%^[^^]+") then return match(name, "^[^^]+%^[^^]+") end
  name = name and match(name, "^[^^]+")
  if name == nil then return "a message without type" end
  local event = name == "ORU" and "R01" or text.clean(msg:get "EVN-1")
  return event and name .. "^" .. event or name
end
v2.type_of = type_of

local function map_of(msg)
  local index = require "messages.index"
  local name = type_of(msg)
  local module = index[name]
  if not module then
    -- An event that we do not know by name, with a structure that we do.
    local structure = text.clean(msg:get "MSH-9.3")
    module = structure and index[structure] or nil
  end
  if not module then return nil, name .. " has no map in the base pack" end
  return require(module), name
end

function v2.mapped(msg)
  local map, why = map_of(msg)
  if map then return true end
  return false, why
end

-- Makes this message the one that the datatype functions work for.
v2.begin = scope.begin

-- The resources of the message as a bundle. What goes wrong is raised with the
-- segment and field at which it did.
function v2.map(msg)
  local map, why = map_of(msg)
  if not map then error(why, 0) end
  scope.begin(msg)
  local bundle = bundles.new()
  scope.bundle = bundle
  local ok, problem = pcall(map, msg, bundle, why)
  local where = scope.where()
  scope.bundle, scope.map = nil, nil
  if not ok then
    if where then problem = where .. ": " .. tostring(problem) end
    error(problem, 0)
  end
  return bundle
end

-- ---- segments -------------------------------------------------------------

local compiled = {}

-- A segment map, or the name of its module, as function(seg, resource).
function v2.segment(map)
  if type(map) == "string" then map = require(map) end
  local run = compiled[map]
  if not run then
    run = rows.compile(map, types)
    compiled[map] = run
  end
  return run
end

v2.override = rows.override

-- ---- datatypes ------------------------------------------------------------

local NO_OPTIONS = {}
local function field(name, options) return types.of_field[name](options or NO_OPTIONS) end

-- One that is made from the text of a repetition, without what goes beside it.
local function of_text(name, options)
  local convert = types.of_text[name](options or NO_OPTIONS)
  return function(rep)
    local value = rep:text()
    if value == nil or value == scope.null then return nil end
    return (convert(value))
  end
end

v2.human_name   = field "XPN"
v2.address      = field "XAD"
v2.concept      = field "CWE"
v2.practitioner = field "XCN"
v2.organization = field "XON"
v2.date         = of_text "DT"
v2.datetime     = of_text "DTM"
v2.yes_no       = of_text "boolean"
v2.number       = of_text "NM"
v2.string       = field "ST"

-- v2.phone "home": the use of numbers that name none themselves.
function v2.phone(use) return field("XTN", { use = use }) end

-- v2.identifier { system = { HOSP = "urn:oid:…" } }: the systems of namespaces,
-- before those that the library finds; `kind` is the type code of those without.
function v2.identifier(options)
  local systems = options and options.system
  local convert = field("CX", { kind = options and options.kind, type = false })
  return function(rep)
    local out = convert(rep)
    local namespace = out and systems and text.get(rep, 4, 1)
    if namespace and systems[namespace] then out.system = systems[namespace] end
    return out
  end
end

-- v2.codes { M = "male", … }: a code by a table in the script. One that it does
-- not have is an error; the text of it would tell of a patient, the field does not.
function v2.codes(table_of_codes)
  return function(rep)
    local code = text.clean(rep:text())
    if code == nil then return nil end
    local to = table_of_codes[code]
    if to == nil then error("the table has no such code", 2) end
    return to
  end
end

-- v2.codeable "marital": a CodeableConcept by a table of the pack.
function v2.codeable(name) return field("CWE", { vocab = name }) end

-- Several lists as one; nil when all are empty.
function v2.join(...)
  local out = {}
  for i = 1, select("#", ...) do
    local list = select(i, ...)
    for j = 1, list and #list or 0 do out[#out + 1] = list[j] end
  end
  return #out > 0 and out or nil
end

v2.null = host.null

return v2

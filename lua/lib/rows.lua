-- Rows: a segment's mapping as data, one row for each row of the guide's table,
-- compiled once into closures. Being data they can be counted, traced and replaced.
--
--   { segment = "PID", resource = "Patient", guide = "PID[Patient]",
--     { 3,  "identifier[]", "CX", row = "5" },
--     { 8,  "gender", "code", vocab = "AdministrativeSex", row = "13" },
--     { 30, "deceasedBoolean", "boolean", when = "29 not valued", row = "50" },
--     { 23, "extension[]", "ST", url = SD .. "patient-birthPlace", at = "valueAddress.text" },
--     after = function(seg, resource) … end }
--
-- A row is { field, target, datatype, … }:
--   target    "a", "a.b", "a[]" (every repetition is appended; without [] the
--             first one counts)
--   when      "29 valued", "29 not valued", "2 = P", "2 != P", "3 in A,B",
--             "3 not in A,B"; several with " and "
--   at, with  the value goes to `at` in a copy of `with`, and that to the target
--   url, sub  the same for an extension, and for an extension within it
--   required  the element may not be deleted
--   missing   only where no row before has put something
--   row       the guide's rows that this one implements
--   other options belong to the datatype (vocab, system, kind, …)
--
-- HL7's null ("") deletes a top-level element, where the message owns the resource
-- (DESIGN: FHIR delivery).
-- `after` is for what spans rows, such as required elements.
local fhir  = require "fhir"
local hl7   = require "hl7"
local host  = require "host"
local scope = require "scope"

local NULL, DELETE = hl7.null, host.null
local gmatch, match = string.gmatch, string.match

local rows = {}

-- ---- conditions -----------------------------------------------------------

local function set_of(list)
  local set = {}
  for word in gmatch(list, "[^,%s]+") do set[word] = true end
  return set
end

-- "29 not valued" as a function of the segment.
local function condition(text)
  local source, test = match(text, "^%s*([%d.]+)%s+(.-)%s*$")
  if not source then error("a condition names a field first: " .. text, 0) end
  source = math.tointeger(source) or source
  if test == "valued" then
    return function(seg)
      if type(source) == "number" then return seg:count(source) > 0 end
      return seg:get(source) ~= nil
    end
  elseif test == "not valued" then
    return function(seg)
      if type(source) == "number" then return seg:count(source) == 0 end
      return seg:get(source) == nil
    end
  end
  local word = match(test, "^=%s*(%S+)$")
  if word then return function(seg) return seg:get(source) == word end end
  word = match(test, "^!=%s*(%S+)$")
  if word then return function(seg) return seg:get(source) ~= word end end
  local negated, list = match(test, "^(n?o?t?)%s*in%s+(.+)$")
  if not list then error("no such condition: " .. text, 0) end
  local set, wanted = set_of(list), negated ~= "not"
  return function(seg)
    local value = seg:get(source)
    return (value ~= nil and set[value] == true) == wanted
  end
end

local function conditions(text)
  local list = {}
  for part in gmatch(text .. " and ", "(.-)%s+and%s+") do list[#list + 1] = condition(part) end
  if #list == 1 then return list[1] end
  return function(seg)
    for i = 1, #list do
      if not list[i](seg) then return false end
    end
    return true
  end
end

-- ---- where a value goes ---------------------------------------------------

-- The table in which the last name of a path stands, made on the way.
local function holder(parents)
  local count = #parents
  if count == 0 then return function(resource) return resource end end
  return function(resource)
    local at = resource
    for i = 1, count do
      local name = parents[i]
      local inner = at[name]
      if inner == nil or inner == DELETE then
        inner = {}
        at[name] = inner
      end
      at = inner
    end
    return at
  end
end

local function path(text)
  local names = {}
  for name in gmatch(text, "[^.]+") do names[#names + 1] = name end
  local last = names[#names]
  names[#names] = nil
  return names, last
end

-- Puts a converted value into what the row declares around it; nil when nothing.
local function wrapper(row)
  local at, with = row.at, row.with
  if row.url then
    if row.sub then
      local parents, last = path(at)
      local inside = holder(parents)
      return function(value)
        local inner = { url = row.sub }
        inside(inner)[last] = value
        return { url = row.url, extension = { inner } }
      end
    end
    with = { url = row.url }
  end
  if not at then return nil end
  local parents, last = path(at)
  local inside, make = holder(parents), fhir.template(with or {})
  return function(value, beside)
    local out = make()
    local place = inside(out)
    place[last] = value
    if beside then place["_" .. last] = beside end
    return out
  end
end

local function append(place, name, value)
  local list = place[name]
  if list == nil or list == DELETE then
    place[name] = { value }
  else
    list[#list + 1] = value
  end
end

local function append_all(place, name, values)
  local list = place[name]
  if list == nil or list == DELETE then
    place[name] = values
  else
    local n = #list
    for i = 1, #values do list[n + i] = values[i] end
  end
end

-- ---- steps ----------------------------------------------------------------

-- HL7's null in field `n`: deletes `last` where nothing else has been put.
local function delete(place, last, top)
  if top and scope.owns and place[last] == nil then place[last] = DELETE end
end

-- The same for a field of which nothing came.
local function delete_if_null(seg, n, resource, last)
  if scope.owns and seg:count(n) > 0 and seg:get(n) == NULL then delete(resource, last, true) end
end

local function text_step(n, convert, wrap, many, inside, last, top)
  local beside_name = "_" .. last
  if many or wrap then
    return function(seg, resource)
      local value = seg:get(n)
      if value == nil then return end
      if value == NULL then return delete(inside(resource), last, top) end
      local beside
      value, beside = convert(value)
      if value == nil and beside == nil then return end
      if wrap then
        value = wrap(value, beside)
      elseif value == nil then
        return
      end
      if many then
        append(inside(resource), last, value)
      else
        inside(resource)[last] = value
      end
    end
  end
  return function(seg, resource)
    local value = seg:get(n)
    if value == nil then return end
    if value == NULL then return delete(inside(resource), last, top) end
    local beside
    value, beside = convert(value)
    if value ~= nil then inside(resource)[last] = value end
    if beside then inside(resource)[beside_name] = beside end
  end
end

local function field_step(n, convert, wrap, many, inside, last, top)
  local each = convert
  if wrap then
    each = function(rep)
      local value = convert(rep)
      return value ~= nil and wrap(value) or nil
    end
  end
  if many then
    return function(seg, resource)
      local values = seg:all(n, each)
      if values then return append_all(inside(resource), last, values) end
      if top then delete_if_null(seg, n, resource, last) end
    end
  end
  return function(seg, resource)
    local value = seg:one(n, each)
    if value ~= nil then
      inside(resource)[last] = value
    elseif top then
      delete_if_null(seg, n, resource, last)
    end
  end
end

local function constant_step(value, many, inside, last)
  local make = fhir.template(value)
  return function(_, resource)
    local place = inside(resource)
    if many then append(place, last, make()) else place[last] = make() end
  end
end

-- Whether HL7's null in this row's field deletes the target: a top-level element,
-- and of several fields that fill a list the first (PID-13 for the telecom; an
-- empty work number does not take the home number away). Never the extensions,
-- which are each something else, the identifiers, by which the resource is found,
-- and what is required.
local function deletes(map, row, top, last)
  if not top or row.required or last == "extension" or last == "identifier" then return false end
  for i = 1, #map do
    if map[i][2] == row[2] then return map[i][1] == row[1] end
  end
  return false
end

local function compile_row(map, row, types)
  local where = (map.guide or map.segment) .. "-" .. tostring(row[1]) .. " " .. tostring(row[2])
  local target, many = match(row[2], "^([^%[]+)(%[?%]?)$")
  if not target then error(where .. ": no such target", 0) end
  many = many ~= ""
  local parents, last = path(target)
  local inside, top = holder(parents), deletes(map, row, #parents == 0, last)
  local step
  if row.value ~= nil then
    step = constant_step(row.value, many, inside, last)
  else
    local wrap = wrapper(row)
    local make = types.of_text[row[3]]
    -- One name can be both; a row that maps all of a field's parts wants the field.
    if make then
      step = text_step(row[1], make(row), wrap, many, inside, last, top)
    else
      make = types.of_field[row[3]]
      if not make then error(where .. ": no datatype " .. tostring(row[3]), 0) end
      step = field_step(row[1], make(row), wrap, many, inside, last, top)
    end
  end
  if row.missing then
    -- Only where no earlier row has put something.
    local inner = step
    step = function(seg, resource)
      local place = inside(resource)
      if place[last] == nil then inner(seg, resource) end
    end
  end
  if row.when then
    local holds, inner = conditions(row.when), step
    step = function(seg, resource)
      if holds(seg) then inner(seg, resource) end
    end
  end
  return step
end

-- Most rows are for fields that a message does not have: those are not called. The
-- bit of seg:present() that a row waits for; what it cannot tell is always called.
local ALWAYS = 1
local function presence(field)
  if math.type(field) ~= "integer" or field < 1 or field > 62 then return ALWAYS end
  return 1 << field
end

-- function(seg, resource): fills the resource from the segment and returns it.
function rows.compile(map, types)
  local steps, bits, count = {}, {}, #map
  for i = 1, count do
    steps[i], bits[i] = compile_row(map, map[i], types), presence(map[i][1])
  end
  local after = map.after
  return function(seg, resource)
    local outer, outer_row = scope.map, scope.row
    scope.map = map
    local present = seg:present() | ALWAYS
    for i = 1, count do
      if present & bits[i] ~= 0 then
        scope.row = i
        steps[i](seg, resource)
      end
    end
    scope.row = nil
    if after then after(seg, resource) end
    scope.map, scope.row = outer, outer_row
    return resource
  end
end

-- A copy of a segment map in which some rows are others: a row replaces those of
-- the same field and target; with `false` for a datatype it only takes them away.
function rows.override(map, changes)
  local out = {}
  for k, v in pairs(map) do
    if type(k) ~= "number" then out[k] = v end
  end
  local function changed(row)
    for _, change in ipairs(changes) do
      if change[1] == row[1] and change[2] == row[2] then return true end
    end
    return false
  end
  for _, row in ipairs(map) do
    if not changed(row) then out[#out + 1] = row end
  end
  for _, change in ipairs(changes) do
    if change[3] or change.value ~= nil then out[#out + 1] = change end
  end
  if changes.after then
    local before = map.after
    out.after = function(seg, resource)
      if before then before(seg, resource) end
      changes.after(seg, resource)
    end
  end
  return out
end

return rows

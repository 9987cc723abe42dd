-- Dates and times: DTM, TS, DT, TM, DR. They keep the precision that they were
-- written with. A time whose offset nobody knows is cut to its date, and its text
-- kept in an extension beside it (DESIGN: the scripts). What is no date at all is
-- left out; the text stays in the extension, too.
local fhir  = require "fhir"
local host  = require "host"
local text  = require "text"

local clean, get = text.clean, text.get
local sub = string.sub

local time = { of_text = {} }

-- A FHIR dateTime, and what belongs beside it.
local function datetime(value)
  value = clean(value)
  if value == nil then return nil end
  local out, why = host.datetime(value)
  if why then return out, fhir.original_text(value) end
  return out
end
time.datetime = datetime

function time.date(value)
  value = clean(value)
  if value == nil then return nil end
  local out = host.date(value)
  if out == nil then return nil, fhir.original_text(value) end
  return out
end

function time.of_text.dateTime() return datetime end

function time.of_text.date() return time.date end

-- Patient.birthDate with the time of birth, when there is one (PID[Patient] 10-12).
function time.of_text.birthDate()
  return function(value)
    local date, beside = time.date(value)
    value = clean(value)
    if date == nil or #value <= 8 then return date, beside end
    local exact = host.datetime(value)
    if exact == nil or #exact <= 10 then return date end
    return date, { extension = { { url = fhir.SD .. "patient-birthTime", valueDateTime = exact } } }
  end
end

-- An instant has a time of day and an offset, or is none (FHIR R4, 2.24.0.1).
function time.of_text.instant()
  return function(value)
    value = clean(value)
    if value == nil then return nil end
    local out = host.instant(value)
    if out == nil then return nil, fhir.original_text(value) end
    return out
  end
end

-- FHIR's time; nil when the text is none.
function time.clock(value)
  value = clean(value)
  return value and (host.time(value)) or nil
end

-- Whether `finish` is certainly before `start`: of the same precision and offset.
function time.reversed(start, finish)
  return start ~= nil and finish ~= nil and #start == #finish and start > finish
         and (#start <= 10 or sub(start, 20) == sub(finish, 20))
end

-- A Period of two texts; nil when neither is a time.
function time.period(from, to)
  local start, start_beside = datetime(from)
  local finish, finish_beside = datetime(to)
  if start == nil and finish == nil and start_beside == nil and finish_beside == nil then
    return nil
  end
  -- per-1: a period that ends before it starts is the sender's mistake. Which of
  -- the two is wrong is not ours to say; the texts stay.
  if time.reversed(start, finish) then
    return { _start = fhir.original_text(clean(from)), _end = fhir.original_text(clean(to)) }
  end
  return { start = start, _start = start_beside, ["end"] = finish, _end = finish_beside }
end

-- DR[Period]
function time.DR()
  return function(rep) return time.period(get(rep, 1), get(rep, 2)) end
end

return time

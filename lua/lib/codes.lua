-- Code tables. A table is a file tables/NAME.csv of the pack, of a pack it builds
-- on, or rows that a tenant laid over either; its columns are
--
--   code      as the message has it
--   to        the code in FHIR; empty: the same
--   display   empty: what the message says
--   system    of `to`; empty: what the row of the map says
--
-- A table that nobody provides is empty, so that a map may name the table of a
-- field for tenants to fill.
local host = require "host"

local codes = {}

local NONE = {}
local tables = {}                        -- name -> the host's table
local found  = {}                        -- name -> code -> { to, system, display }

-- The rows of a table, by code.
function codes.table(name)
  local rows = tables[name]
  if rows == nil then
    rows = host.table(name) or NONE
    tables[name], found[name] = rows, {}
  end
  return rows
end

-- The row for a code, or nil.
function codes.row(name, code)
  return codes.table(name)[code]
end

-- The code in FHIR, its system and display; nil when the table has no such code.
-- What was found is kept: a state's tables never change, and hold all codes that
-- can be found.
function codes.find(name, code)
  local kept = found[name]
  local hit = kept and kept[code]
  if not hit then
    local row = codes.table(name)[code]
    if not row then return nil end
    local function cell(column)
      local text = row[column]
      return text ~= "" and text or nil
    end
    hit = { cell "to" or code, cell "system", cell "display" }
    found[name][code] = hit
  end
  return hit[1], hit[2], hit[3]
end

return codes

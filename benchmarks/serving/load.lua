-- For wrk. Arguments: a body whose SEED and LABEL differ from request to request (none: GET), the first seed,
-- the milliseconds that each connection pauses between its requests, and the seconds after which answers are
-- counted by their status (none: they are not counted, for then wrk reads the headers of each, which takes time).

local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long seconds, nanoseconds; } timespec;
  int clock_gettime(int clock, timespec *time);
]]

local body, seed, pause, skip, began
local threads = {}
served, refused, unfit = 0, 0, 0

local function now()
  local time = ffi.new("timespec")
  ffi.C.clock_gettime(0, time)
  return tonumber(time.seconds) + tonumber(time.nanoseconds) / 1e9
end

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  body, seed, pause, skip = arguments[1], tonumber(arguments[2]), tonumber(arguments[3]), tonumber(arguments[4])
  if pause == 0 then
    delay = nil
  end
  if not skip then
    response = nil
  end
  began = now()
end

function delay()
  return pause
end

function request()
  if body == "" then
    return wrk.format("GET")
  end
  seed = seed + 1
  return wrk.format("POST", nil, {["Content-Type"] = "application/json"},
    (body:gsub("SEED", seed):gsub("LABEL", seed % 10)))
end

-- A refusal counts as such only when it says when to come back.
function response(status, headers)
  if now() - began < skip then
    return
  end
  local retry_after
  for name, value in pairs(headers) do
    retry_after = retry_after or (name:lower() == "retry-after" and tonumber(value))
  end
  if status == 200 then
    served = served + 1
  elseif status == 503 and retry_after then
    refused = refused + 1
  else
    unfit = unfit + 1
  end
end

function done(summary, latency)
  local counts = {served = 0, refused = 0, unfit = 0}
  for _, thread in ipairs(threads) do
    for name, count in pairs(counts) do
      counts[name] = count + thread:get(name)
    end
  end
  local errors = summary.errors
  io.write("\n", string.format(
    '{"seconds": %f, "answers": %d, "p50_ms": %f, "p99_ms": %f, "bad_statuses": %d, "broken": %d, '
      .. '"served": %d, "refused": %d, "unfit": %d}',
    summary.duration / 1e6, summary.requests, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout,
    counts.served, counts.refused, counts.unfit), "\n")
end

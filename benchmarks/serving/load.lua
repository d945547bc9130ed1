-- For wrk. Arguments: a body whose SEED and LABEL differ from request to request (none: GET), the first seed,
-- milliseconds that each connection pauses between its requests, and "status" to count answers by status.

local body, seed, pause
local threads = {}
served, refused, unfit = 0, 0, 0

function setup(thread)
  table.insert(threads, thread)
end

function init(arguments)
  body, seed, pause = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  if pause == 0 then
    delay = nil
  end
  -- Slower, for wrk then reads the headers of each answer.
  if arguments[4] ~= "status" then
    response = nil
  end
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

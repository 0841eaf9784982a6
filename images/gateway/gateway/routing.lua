-- Requests that wait for a server, callers who name the revision they want, and replicas of different speed. Loaded once, so all threads share it.

-- The newest sign of life of each held request, in seconds. A request whose caller left is dropped without a word;
-- what gave no sign for STALE seconds is no longer counted, so that nothing leaks.
local STALE = 1.0
local held = {}
local count = 0
local refused = 0
local counted_at = 0
local last = 0

local function now()
  local time = core.now()
  return time.sec + time.usec / 1e6
end

local function recount()
  local time = now()
  count = 0
  for id, seen in pairs(held) do
    if time - seen > STALE then held[id] = nil else count = count + 1 end
  end
  counted_at = time
  return count
end

local function full(limit)
  if count < limit then return false end
  if now() - counted_at > 0.1 then recount() end
  return count >= limit
end

local function open(txn, backend, queue)
  return txn.f:nbsrv(backend) > 0 and txn.f:queue(backend) < queue
end

-- Wait until a server can be asked and its queue has room, for at most `seconds`. Sets txn.held_ms, or txn.hold_full.
core.register_action("hold", {"http-req"}, function(txn, seconds, limit, queue, stable, other)
  local most, room = tonumber(limit), tonumber(queue)
  if full(most) then
    refused = refused + 1
    txn:set_var("txn.hold_full", 1)
    return
  end
  last = last + 1
  local id, started, canary = last, now(), txn:get_var("txn.canary_may")
  count = count + 1
  while true do
    local time = now()
    held[id] = time
    if open(txn, stable, room) or (canary and open(txn, other, room)) then break end
    if time - started >= tonumber(seconds) then break end
    core.msleep(40 + math.random(0, 20))
  end
  held[id] = nil
  count = math.max(0, count - 1)
  txn:set_var("txn.held_ms", math.floor((now() - started) * 1000))
end, 5)

core.register_cli({"show", "held"}, "show held: requests that wait for a first server", function(applet)
  applet:send("held " .. recount() .. "\nrefused " .. refused .. "\n")
end)

-- The header that names a revision is known at run time only, so it is looked up here. Sets txn.pin.
core.register_action("pin", {"http-req"}, function(txn, name, value)
  local found = txn.f:req_hdr(txn:get_var(name))
  if found and found ~= "" then
    txn:set_var("txn.pin", found == txn:get_var(value) and "canary" or "stable")
  end
end, 2)

-- Replicas of different speed: `slow` is "name:percent,..." as the sidecar measured it, of all that may be asked. One that is to drain is
-- taken out of it first, since HAProxy does not tell here who drains.
local speeds, speeds_text = {}, nil
local turn, turns = 0, {}

local function parsed(slow)
  if slow ~= speeds_text then
    speeds, speeds_text = {}, slow
    for name, percent in slow:gmatch("([^,:]+):(%d+)") do speeds[name] = tonumber(percent) end
    for name in pairs(turns) do
      if not speeds[name] then turns[name] = nil end
    end
  end
  return speeds
end

-- Requests that a replica works on, nil where it may not be asked. Fails where it is no server of this backend (yet).
local function used_at(txn, backend, name)
  -- A string for each question: HAProxy 2.6 cuts the one it is given in two.
  if txn.f:srv_is_up(backend .. "/" .. name) ~= 1 or txn.f:srv_weight(backend .. "/" .. name) == 0 then return nil end
  return txn.f:srv_conn(backend .. "/" .. name)
end

-- The replica that will have answered soonest, by what it works on now and its speed; among equals the one whose turn is longest ago.
-- Sets txn.server, or nothing where all have as many as they may: then the request waits in the backend's queue.
core.register_action("choose", {"http-req"}, function(txn, backend, most)
  local room, chosen, least = tonumber(most), nil, nil
  for name, percent in pairs(parsed(txn:get_var("txn.slow"))) do
    local there, used = pcall(used_at, txn, backend, name)
    if there and used and used < room then
      local cost = (used + 1) * percent
      if not least or cost < least or (cost == least and (turns[name] or 0) < (turns[chosen] or 0)) then
        chosen, least = name, cost
      end
    end
  end
  if chosen then
    turn = turn + 1
    turns[chosen] = turn
    txn:set_var("txn.server", chosen)
  end
end, 2)

-- Copies of answered requests for who compares them with a canary's answers. Loaded once, so all threads share it.

-- Copies on their way to the sidecar, and those that were dropped. After one that it did not take there are none for a while.
local MOST_COPIES = 16
local QUIET = 1.0
local copies = 0
local dropped = 0
local quiet_until = 0

local function now()
  local time = core.now()
  return time.sec + time.usec / 1e6
end

-- Keep a request that may be copied once it is answered.
core.register_action("keep", {"http-req"}, function(txn)
  local body = txn.f:req_body() or ""
  if #body ~= tonumber(txn.f:req_hdr("Content-Length")) then return end
  txn:set_priv({
    body = body,
    at = now(),
    path = txn.f:pathq(),
    type = txn.f:req_hdr("Content-Type") or "",
    head = txn.f:req_hdr("Inference-Header-Content-Length") or "",
  })
end)

local function send(socket, text)
  local tcp = core.tcp()
  tcp:settimeout(1)
  local sent = tcp:connect("unix@" .. socket) and tcp:send(text)
  tcp:close()
  if not sent then
    dropped = dropped + 1
    quiet_until = now() + QUIET
  end
  copies = copies - 1
end

-- Hand what was kept, with its answer, to who listens at the socket. The caller's answer waits for nothing of it.
core.register_action("copy", {"http-res"}, function(txn, socket)
  local kept, answer = txn:get_priv(), txn.f:res_body() or ""
  if not kept or #answer ~= tonumber(txn.f:res_hdr("Content-Length")) then return end
  if copies >= MOST_COPIES or now() < quiet_until then
    dropped = dropped + 1
    return
  end
  copies = copies + 1
  local lines = {
    "path " .. kept.path,
    "type " .. kept.type,
    "head " .. kept.head,
    "request " .. #kept.body,
    "answer " .. #answer,
    "answer-head " .. (txn.f:res_hdr("Inference-Header-Content-Length") or ""),
    string.format("seconds %.3f", now() - kept.at),
  }
  local text = table.concat(lines, "\n") .. "\n\n" .. kept.body .. answer
  core.register_task(function() send(socket, text) end)
end, 1)

core.register_cli({"show", "copies"}, "show copies: those that were dropped", function(applet)
  applet:send("dropped " .. dropped .. "\n")
end)

"""The gateway of an InferenceService: HAProxy, and a sidecar that owns its runtime socket.

haproxy container, `python -m gateway.haproxy`:
  render.py     environment -> haproxy.cfg
  sections.py   the parts of it that the service's options decide (pure)
  protocol.py   the two protocols that callers speak: their backends, and how they are refused (pure)
  tracing.py    rules that give requests a span (pure)
  routing.lua   requests that wait for a first server; headers that name a revision; replicas of different speed
  copying.lua   copies of answered requests, for comparison
  haproxy.py    starts HAProxy and turns SIGTERM into a stop that loses no request
sidecar container, `python -m gateway`:
  members.py    who should get traffic: the operator's reply, checked (pure)
  split.py      the canary's share of it (pure)
  observed.py   who does get traffic: HAProxy's own tables, parsed (pure)
  eject.py      replicas whose answers fail (pure)
  spans.py      traces of requests, from the same log
  traffic.py    what the requests of each revision came to, from HAProxy's log
  copies.py     requests that the canary answers too, for comparison
  answers.py    whether two answers say the same (pure)
  contracts.py  what each model takes and gives, read from a replica
  objective.py  how many requests were answered well enough (pure)
  pace.py       how fast requests are answered (pure)
  speed.py      which replicas are slower than the others (pure)
  plan.py       the commands that lead from the one to the other (pure)
  runtime.py    the runtime socket
  credentials.py  keys and certificate, handed to HAProxy when they change
  sync.py       the operator's endpoint
  fallback.py   the headless Service's DNS, for a gateway that never reached the operator
  store.py      the last membership on disk, for a sidecar that restarts
  sidecar.py    the two loops that tie these together
  endpoint.py   readiness and metrics
config.py       the environment of both
"""

BACKEND = "replicas"
CANARY = "canary"
GRPC_BACKEND = "replicas-grpc"
GRPC_CANARY = "canary-grpc"
GRPC_BACKENDS = (GRPC_BACKEND, GRPC_CANARY)
BACKENDS = (BACKEND, CANARY, *GRPC_BACKENDS)
FRONTEND = "traffic"
GRPC_FRONTEND = "traffic-grpc"
FRONTENDS = (FRONTEND, GRPC_FRONTEND)

"""The model server of an InferenceService replica: exported models, Open Inference Protocol over REST and gRPC.

config.py    the environment, read once
errors.py    every way a request or a start can fail
loading.py   files on disk -> a checked, loaded model
folders.py, repository.py, starting.py  which models are here; load and unload them while others serve
tensors.py   values and raw bytes <-> arrays, with messages that name the field (pure)
protocol.py  a REST body <-> a checked request or an answer (pure); classification.py is one of its extensions
inference.py what every protocol does with a request; time_limit.py bounds it, statistics.py counts it
model.py     one forward pass: raw inputs -> named outputs
batcher.py   requests that wait together are computed together
metrics.py   what /metrics shows
app.py       HTTP routes; v1.py and repository_routes.py are others, bodies.py and replies.py what they share
grpc_service.py, grpc_tensors.py, grpc_messages.py  the same over gRPC
explain/     how much each value of an input accounts for; aside.py lets inferences go first
openai.py    the routes of OpenAI's clients; language/ generates for them
tracing.py   where a request leaves its trace; spans.py makes spans of it where there is a collector
graph/       a program of its own: the router of a graph of services, without a model
lifecycle.py start, warm-up, readiness, drain, exit code
"""

VERSION = "0.1.0"

"""The model server of an InferenceService replica: one exported model, Open Inference Protocol v2 over HTTP.

config.py    the environment, read once
errors.py    every way a request or a start can fail
loading.py   files on disk -> a checked, loaded model
protocol.py  JSON body <-> tensors, with messages that name the field (pure)
model.py     one forward pass: raw inputs -> named outputs
batcher.py   requests that wait together are computed together
metrics.py   what /metrics shows
app.py       HTTP routes and the error body
lifecycle.py start, warm-up, readiness, drain, exit code
"""

VERSION = "0.1.0"

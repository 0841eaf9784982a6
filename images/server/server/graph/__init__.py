"""`python -m server.graph`: the router of a graph of services. It has no model, needs no GPU and imports no torch.

wiring.py   the graph as the operator tells it
tensors.py  named tensors of a request or an answer, as they travel
combine.py  several answers made one; choose.py: which of several is asked (all three pure)
asking.py   one target asked over HTTP, with what is left of the deadline
stages.py   a request through all stages
settings.py, metrics.py, app.py, __main__.py  the process round it
"""

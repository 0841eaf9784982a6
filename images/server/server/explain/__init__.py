"""Explanations: how much of an answer each value of the input accounts for, by integrated gradients.

Source: Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017.

requests.py   a body -> a checked request, and results -> a body, in V2 and V1 (pure)
path.py       points between baseline and input, and how many at a time (pure)
gradients.py  what the model answers at points, and how steep it is there; which models have no such thing
limit.py      how many explanations at a time
explaining.py an explanation in slices, for which the model's thread has time between inferences
routes.py     HTTP
"""

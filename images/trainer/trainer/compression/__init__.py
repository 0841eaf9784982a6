"""Smaller, faster variants of a trained model, each measured beside its parent and published only where it earns it.

Asked for by `compression` in TRAINYARD_SPEC (specification.py), run by program.py: methods.py makes a variant, measuring.py measures it,
gate.py judges, publishing.py writes. layers.py and rebuilding.py are what loads a variant again, here and in the server.
"""

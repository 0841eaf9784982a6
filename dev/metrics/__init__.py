"""The page of all metrics, docs/metrics.md, generated from where each is defined: `python -m dev.metrics`.

The operator's come from `trainyard.metrics.definitions`; those of gateways and model servers from the images' own code.
"""

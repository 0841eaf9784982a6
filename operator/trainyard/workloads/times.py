"""Times that training and serving share, in seconds."""

BIND_SECONDS = 30.0
"""A pod that kube-scheduler has not bound for so long gives its place back."""
AVOID_SECONDS = 300.0
"""The node it was meant for is not tried again for so long."""
REFRESH_SECONDS = 30.0
"""Arithmetic of a wait changes while its reason stays: readers get it within half a minute."""

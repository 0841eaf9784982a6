"""Trainyard: a Kubernetes operator that trains and serves models on one GPU fleet under one set of quotas."""

__version__ = "0.1.0"

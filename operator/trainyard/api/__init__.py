"""The kinds of `trainyard.dev/v1alpha1` as pydantic models; the CRDs are generated from them.

Imports nothing of the rest of the operator: schedulers, controllers and the CLI all read these models.
"""

"""Traces of requests, as the gateway and the model server leave them; both images hold this package.

span.py    a span as a value, and the header `traceparent` that carries a trace from one process to the next (pure)
export.py  OpenTelemetry's exporter, behind a queue that never makes anybody wait

Only a process that has somewhere to send spans to imports it.
"""

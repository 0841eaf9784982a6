"""`spec.telemetry` of an InferenceService: where its requests leave traces."""

from pydantic import Field

from trainyard.api.meta import Model

OTLP_ENDPOINT = r"^(https?://[^\s/?#]+(/[^\s?#]*)?)?$"
"""The base address of a collector, or nothing."""


class Telemetry(Model):
    """Traces of requests through gateway and server."""

    otlp_endpoint: str | None = Field(
        default=None,
        max_length=512,
        pattern=OTLP_ENDPOINT,
        description="Base address of a collector of OpenTelemetry that speaks OTLP over http, such as http://collector.monitoring:4318; spans go to its /v1/traces. By default the operator's; empty for no traces.",
    )
    sample_ratio: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Part of the requests that is traced where the caller does not say (header traceparent). By default the operator's.",
    )

"""Where the gateway and the replicas of a service send traces of requests, as variables of their containers."""

from trainyard.inference.observed import Observed


def trace_variables(observed: Observed) -> dict[str, str]:
    """None at all where nothing is traced, so that pods without traces are what they were."""
    asked, around = observed.service.spec.telemetry, observed.surroundings
    endpoint = around.otlp_endpoint if asked.otlp_endpoint is None else asked.otlp_endpoint
    if not endpoint:
        return {}
    ratio = around.trace_ratio if asked.sample_ratio is None else asked.sample_ratio
    return {
        "TRAINYARD_NAMESPACE": observed.service.metadata.namespace,
        "TRAINYARD_OTLP_ENDPOINT": endpoint,
        "TRAINYARD_TRACE_RATIO": f"{ratio:.6f}",
    }

"""Series of gateways and model servers. They are defined in the images; a test compares these names with what those serve."""

from dataclasses import dataclass

_TARGET = ("namespace", "inference_service", "pod")
"""What scraping adds to every series of a service's pods: see the chart's PodMonitor."""


@dataclass(frozen=True)
class Served:
    """A family of series of one service's pods."""

    name: str
    own: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        return (*_TARGET, *self.own)


def _gateway(name: str, *own: str) -> Served:
    return Served(f"trainyard_gateway_{name}", own)


def _server(name: str, *own: str) -> Served:
    return Served(f"trainyard_server_{name}", own)


HELD = _gateway("held")
QUEUED = _gateway("queued")
HELD_REFUSED = _gateway("held_refused_total")
EJECTIONS = _gateway("ejections_total")
SLO_REQUESTS = _gateway("slo_requests_total")
SLO_GOOD = _gateway("slo_good_total")
MEMBERS = _gateway("members", "state")
SLOWNESS = _gateway("slowness", "member")
OPERATOR_AWAY = _gateway("operator_away")
GATEWAY_READY = _gateway("ready")
HAPROXY_RESTARTS = _gateway("haproxy_restarts_total")
SYNCS = _gateway("syncs_total", "result")
GENERATION = _gateway("generation")
COPIES_SENT = _gateway("copies_sent_total")
COPIES_DROPPED = _gateway("copies_dropped_total")
ANSWERS_COMPARED = _gateway("answers_compared_total")
ANSWERS_DIFFERENT = _gateway("answers_different_total")

REQUESTS = _server("requests_total", "code")
REQUEST_SECONDS = _server("request_seconds")
QUEUE_SECONDS = _server("queue_seconds")
COMPUTE_SECONDS = _server("compute_seconds")
BATCH_ROWS = _server("batch_rows")
QUEUE_DEPTH = _server("queue_depth")
IN_FLIGHT = _server("in_flight_requests")
SAVED_ROWS = _server("saved_rows_total", "reason")
WASTED_ROWS = _server("wasted_rows_total", "reason")
LOAD_SECONDS = _server("load_seconds")
WARM_UP_SECONDS = _server("warm_up_seconds")
MODEL = _server("model_info", "model", "digest")
READY = _server("ready")
EXPLANATIONS = _server("explanations_total", "code")
EXPLANATION_SECONDS = _server("explanation_seconds")

PROMPT_TOKENS = _server("language_prompt_tokens_total", "model")
CACHED_TOKENS = _server("language_cached_tokens_total", "model")
GENERATED_TOKENS = _server("language_generated_tokens_total", "model")
RUNNING = _server("language_running", "model")
WAITING = _server("language_waiting", "model")
CACHE_USED = _server("language_cache_used_ratio", "model")
FIRST_TOKEN = _server("language_first_token_seconds", "model")
NEXT_TOKEN = _server("language_next_token_seconds", "model")
SENT_BACK = _server("language_preemptions_total", "model")
EXPIRED = _server("language_expired_total", "model")
STEP_SECONDS = _server("language_step_seconds", "model")

STAGE_SECONDS = _server("stage_seconds", "stage")
STAGE_REQUESTS = _server("stage_requests_total", "stage", "code")

ALL = tuple(each for each in list(globals().values()) if isinstance(each, Served))

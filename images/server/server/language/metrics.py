"""What /metrics shows of language models, next to the server's own series."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_PREFIX = "trainyard_server_language"


class LanguageMetrics:
    """Series of all language models of a server, each with its model's name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str) -> Counter:
            return Counter(f"{_PREFIX}_{name}", text, ["model"], registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"{_PREFIX}_{name}", text, ["model"], registry=registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(f"{_PREFIX}_{name}", text, ["model"], registry=registry, buckets=_SECONDS)

        self.prompt_tokens = counter("prompt_tokens", "Tokens of prompts that were accepted.")
        self.cached_tokens = counter("cached_tokens", "Tokens of prompts that were found in the cache, not computed.")
        self.generated_tokens = counter("generated_tokens", "Tokens generated.")
        self.preemptions = counter("preemptions", "Sequences sent back because blocks of the cache ran out.")
        self.expired = counter("expired", "Sequences ended because their deadline passed.")
        self.running = gauge("running", "Sequences that have blocks of the cache.")
        self.waiting = gauge("waiting", "Sequences that wait for blocks of the cache.")
        self.cache_used = gauge("cache_used_ratio", "Part of the cache's blocks that sequences hold.")
        self.first_token = histogram("first_token_seconds", "From the request to its first token.")
        self.next_token = histogram("next_token_seconds", "From one token of a sequence to its next.")
        self.step = histogram("step_seconds", "One step of all that run.")

"""The exported model in a status, with its variants, from what the trainer told of it."""

from collections.abc import Mapping
from typing import Any

from trainyard.api.compression import Variant, VariantLatency, variant_path
from trainyard.api.training_job import Result

_MOST_REASON = 512
_MOST_METRICS = 8


def told_result(body: Mapping[str, Any], claim: str, known: Result | None) -> Result:
    """The result that a report or last message tells of. known: that of before, of which a shorter message takes nothing away."""
    path, digest = str(body["path"])[:1024], str(body["digest"])[:128]
    variants = [_variant(path, each) for each in body.get("variants") or ()]
    if known is not None and (known.path, known.digest) == (path, digest) and known.variants:
        variants = known.variants
    return Result(claim_name=claim, path=path, digest=digest, variants=variants)


def _variant(path: str, body: Mapping[str, Any]) -> Variant:
    name, digest = str(body["name"]), body.get("digest")
    published = body["verdict"] == "Published" and digest
    return Variant(
        name=name,
        method=str(body.get("method") or ""),
        verdict="Published" if published else "Refused",
        reason=str(body.get("reason") or "")[:_MOST_REASON],
        path=variant_path(path, name) if published else "",
        digest=str(digest) if published else "",
        size_bytes=body.get("sizeBytes"),
        metrics=dict(list((body.get("metrics") or {}).items())[:_MOST_METRICS]),
        latencies=[VariantLatency.model_validate(each) for each in body.get("latencies") or ()],
        speedup=body.get("speedup"),
    )

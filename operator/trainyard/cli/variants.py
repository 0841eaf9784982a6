"""The table of a compressed model's variants in `trainyard get JOB -o wide`."""

from collections.abc import Sequence

from trainyard.api.compression import Variant
from trainyard.cli import output
from trainyard.cli.job_facts import NOTHING

_MILLI, _KIBI, _MEBI = 1e3, 1 << 10, 1 << 20


def print_variants(variants: Sequence[Variant]) -> None:
    """Each with its figures, and why it is or is not published."""
    columns = ("NAME", "METHOD", "VERDICT", "SIZE", "METRIC", "LATENCY (PARENT'S)", "REASON")
    rows = [
        [
            each.name,
            each.method or NOTHING,
            each.verdict,
            _size(each.size_bytes),
            ", ".join(f"{name} {value:.4g}" for name, value in each.metrics.items()) or NOTHING,
            _latency(each),
            each.reason or NOTHING,
        ]
        for each in variants
    ]
    output.print_table("variants:", columns, rows)


def _size(size: int | None) -> str:
    if size is None:
        return NOTHING
    return f"{size / _MEBI:.1f} MiB" if size >= _MEBI else f"{size / _KIBI:.1f} KiB"


def _latency(variant: Variant) -> str:
    told = (
        f"{each.batch_size}: {each.seconds * _MILLI:.3g} ms ({each.parent_seconds * _MILLI:.3g})"
        for each in variant.latencies
    )
    return ", ".join(told) or NOTHING

"""Ports of Services, as far as we ask for them."""

from collections.abc import Mapping
from typing import Any

Ports = frozenset[tuple[str, int, int | str]]
"""Name, port, target port of each."""


def ports_of(service: Mapping[str, Any]) -> Ports:
    """Of a Service as we write it, or as the API server has it, which names a target port that we leave out."""
    return frozenset(
        (each.get("name", ""), each["port"], each.get("targetPort", each["port"]))
        for each in service.get("spec", {}).get("ports") or ()
    )

"""Models on a claim, for services that need one and no training: made once for all tests."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.platform import Platform

CLAIM = "models"
_PROGRAM = Path(__file__).with_name("models_program.py")


@dataclass(frozen=True)
class Models:
    """A namespace with models on its claim `models`. digests: by folder, see models_program.py."""

    platform: Platform
    digests: Mapping[str, str]

    def source(self, path: str) -> dict[str, Any]:
        """spec.model of a service."""
        return {"claimName": CLAIM, "path": path, "digest": self.digests[path]}


def make_models(platform: Platform) -> Models:
    """On a claim of that namespace."""
    program = platform.program("models", "trainer", _PROGRAM.read_text(), env={"HOME": "/tmp"}, claim=CLAIM)
    platform.apply(platform.claim(CLAIM), program)
    (digests,) = platform.until("the models being made", lambda: platform.said("models"))
    return Models(platform, digests)

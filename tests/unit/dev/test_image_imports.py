"""What the program of an image imports must be in that image's locks: a missing package shows only when a pod starts."""

import ast
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
# image: (program, packages of ours beside it, locks)
IMAGES = {
    "gateway": ("images/gateway/gateway", {"gateway", "telemetry"}, ("gateway",)),
    "server": ("images/server/server", {"server", "telemetry", "trainer"}, ("torch", "server")),
    "trainer": ("images/trainer/trainer", {"trainer"}, ("torch", "trainer")),
    "operator": ("operator/trainyard", {"trainyard"}, ("operator",)),
    "telemetry": ("images/telemetry/telemetry", {"telemetry"}, ("gateway",)),
    "telemetry in the server": ("images/telemetry/telemetry", {"telemetry"}, ("torch", "server")),
}
DISTRIBUTION = {
    "yaml": "pyyaml",
    "pythonjsonlogger": "python-json-logger",
    "prometheus_client": "prometheus-client",
    "pydantic_settings": "pydantic-settings",
    "pydantic_core": "pydantic-core",
    "google": "protobuf",
    "grpc": "grpcio",
    "opentelemetry": "opentelemetry-sdk",
}


def imported(folder: Path) -> set[str]:
    """Top-level names that the files import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_that_an_image_imports_is_locked_for_it(image: str) -> None:
    program, own, locks = IMAGES[image]
    locked = {
        name
        for lock in locks
        for name in re.findall(r"^([a-z0-9._-]+)==", (ROOT / "locks" / f"{lock}.txt").read_text(), re.MULTILINE)
    }
    needed = {DISTRIBUTION.get(name, name) for name in imported(ROOT / program) - own - sys.stdlib_module_names}
    assert needed - locked == set()

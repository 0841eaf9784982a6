"""What the examples ask of the trainer is something that it takes: the API server cannot know."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from trainer.compression.specification import parse_compression
from trainer.specification import parse_specification

EXAMPLES = Path(__file__).parents[3] / "examples"


def jobs() -> list[tuple[str, dict[str, Any]]]:
    """Specs of all jobs that our own program runs."""
    return [
        (f"{file.relative_to(EXAMPLES)}:{document['metadata']['name']}", document["spec"])
        for file in sorted(EXAMPLES.rglob("*.yaml"))
        for document in yaml.safe_load_all(file.read_text())
        if document and document.get("kind") == "TrainingJob" and "entrypoint" not in document["spec"]
    ]


@pytest.mark.parametrize("spec", [pytest.param(spec, id=name) for name, spec in jobs()])
def test_an_example_is_taken_by_the_trainer(spec: dict[str, Any]) -> None:
    workers = spec.get("workers", {})
    gpus = workers.get("resources", {}).get("limits", {}).get("nvidia.com/gpu", 1)
    processes = max(1, int(gpus)) if str(gpus).isdecimal() else 1
    recipe = {name: spec[name] for name in ("model", "dataset", "training", "compression") if name in spec}
    if (parent := spec.get("compression", {}).get("parent")) is not None:
        recipe["compression"] = {**spec["compression"], "parent": {"path": "/parent", **parent}}
    asked = parse_compression(json.dumps(recipe), workers=workers.get("replicas", 1) * processes)
    if asked is None or asked.parent is None:
        parse_specification(json.dumps(recipe), workers=workers.get("replicas", 1) * processes)

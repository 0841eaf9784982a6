"""The shell commands of docs/serving.md, run as they stand there."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from tests.walkthrough.page import blocks

PAGE = (Path(__file__).parents[3] / "docs" / "serving.md").read_text()
SECTION = PAGE.split("## Calling a model")[1].split("\n## ")[0]
BLOCKS = [block.text for block in blocks(SECTION) if block.language == "bash"]
IRIS = {
    "name": "iris",
    "architecture": {"model": "mlp", "parameters": {"inputShape": [4], "outputs": 3, "hidden": [8]}},
    "inputs": [{"name": "features", "datatype": "FP32", "shape": [-1, 4]}],
    "labels": ["setosa", "versicolor", "virginica"],
}


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
async def test_a_documented_call_works(running: Any, block: str) -> None:
    async with running(card=IRIS) as client:
        process = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", block),
            env=os.environ | {"SERVER": client.base},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode() or output.decode()
    assert b"error" not in output
    assert output


def test_every_way_to_call_is_shown() -> None:
    assert len(BLOCKS) == 6

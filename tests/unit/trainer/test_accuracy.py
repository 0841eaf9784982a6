"""The first manifest's job learns digits: 5 epochs, batches of 64, adamw at 0.001, two workers."""

from pathlib import Path

import pytest

from tests.unit.trainer.gang import StartGang

SEEDS = (0, 1, 2)


@pytest.mark.slow
def test_the_first_manifest_reaches_97_percent_on_held_out_digits(start_gang: StartGang, tmp_path: Path) -> None:
    training = {"epochs": 5, "batchSize": 64, "optimizer": "adamw", "learningRate": 0.001}
    found = {}
    for seed in SEEDS:
        spec = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "training": {**training, "seed": seed}}
        gang = start_gang(spec, workers=2, directory=tmp_path / str(seed))
        assert gang.exit_codes() == [0, 0]
        found[seed] = gang.progress()["metrics"]["accuracy"]
    print("held-out accuracy by seed:", found)  # noqa: T201 - the figures are the point
    assert sum(found.values()) / len(found) >= 0.97, found
    assert min(found.values()) >= 0.95, found

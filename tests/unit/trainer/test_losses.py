"""A step leaves its loss on the device, where a GPU's is read a step late; nothing is decided on an old one."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from trainer.evaluation import Samples
from trainer.losses import Losses, StepLoss
from trainer.models import build_model
from trainer.optimization import Loss
from trainer.parallel.building import build_strategy
from trainer.parallel.layout import Layout
from trainer.parallel.strategy import Batch, Strategy
from trainer.parallel.together import Together
from trainer.specification import parse_specification

from tests.unit.trainer.gang import StartGang, specification
from tests.unit.trainer.test_training import NO_DROPOUT, finished, furthest, weights

CPU = torch.device("cpu")
PARTS = 2


def number(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_a_loss_is_at_hand_when_its_step_is_made() -> None:
    losses = Losses(late=False)
    assert losses.at_hand() == StepLoss()
    losses.add(1, number(3.5), 7)
    assert losses.at_hand() == losses.newest() == StepLoss(1, 3.5, 7)


def test_a_late_loss_is_at_hand_when_the_next_step_is_made() -> None:
    losses = Losses(late=True)
    losses.add(5, number(3.5), 7)
    assert losses.at_hand() == StepLoss()
    losses.add(6, number(3.25), 7)
    assert losses.at_hand() == StepLoss(5, 3.5, 7)
    assert losses.newest() == StepLoss(6, 3.25, 7)


class Reading(TorchDispatchMode):  # type: ignore[misc]  # torch is untyped here
    """Fails where a number is read from a tensor, for which a GPU would have to finish its work."""

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func is not torch.ops.aten._local_scalar_dense.default, "a number was read"
        return func(*args, **(kwargs or {}))


@pytest.fixture
def strategy() -> Strategy:
    """Of a small Llama with clipped gradients. With sgd, since on a CPU torch's adamw reads the number of its step."""
    document = {
        "model": {"name": "llama"},
        "dataset": {"name": "docs"},
        "training": {"optimizer": "sgd", "clipNorm": 1e-3, "accumulateSteps": PARTS},
    }
    training = parse_specification(json.dumps(document)).training
    sizes = {"dim": 16, "layers": 1, "heads": 2, "keyValueHeads": 1, "hidden": 16, "vocabulary": 11}
    module = build_model("llama", {**sizes, "inputShape": [4], "outputs": 11})
    return build_strategy(training, Layout(training.parallelism, 0, 1), module, Loss("cross-entropy", 0.0, 1.0), CPU)


def test_a_step_reads_no_number_from_the_device(strategy: Strategy) -> None:
    samples = Samples(torch.arange(32).view(8, 4) % 11, torch.arange(32).view(8, 4) % 7, CPU)
    with Reading():
        batches = [Batch(*samples.take(rows), 1 / 8) for rows in torch.arange(8).chunk(PARTS)]
        loss = strategy.step(batches, 0.1)
        with pytest.raises(AssertionError, match="a number was read"):
            float(loss)
    assert loss.item() > 0


@pytest.fixture
def read_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs started from here on read losses as they do on a GPU."""
    monkeypatch.setattr("trainer.loop.Losses", lambda **_: Losses(late=True))


def saved(directory: Path) -> dict[int, float]:
    """The loss that each checkpoint was saved with, by its step."""
    states = [json.loads(file.read_text()) for file in directory.glob("checkpoints/*/*/state.json")]
    return {state["step"]: state["loss"] for state in states}


@pytest.mark.usefixtures("read_late")
def test_the_last_step_and_each_checkpoint_know_their_own_loss(
    start_gang: StartGang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = specification(NO_DROPOUT, epochs=2, checkpointEverySteps=3, keepCheckpoints=10)
    late = finished(start_gang(spec, directory=tmp_path / "late"))
    monkeypatch.undo()
    usual = finished(start_gang(spec, directory=tmp_path / "usual"))
    assert late["loss"] == usual["loss"]
    assert furthest(weights(tmp_path / "late"), weights(tmp_path / "usual")) == 0
    assert len(saved(tmp_path / "usual")) == 6
    assert saved(tmp_path / "late") == saved(tmp_path / "usual")


@pytest.mark.fault(65)
@pytest.mark.usefixtures("read_late")
def test_a_late_loss_that_is_no_number_ends_the_job_before_the_next_checkpoint(
    start_gang: StartGang, tmp_path: Path
) -> None:
    spec = specification("linear", "diabetes", optimizer="sgd", learningRate=1e30, epochs=50)
    gang = start_gang(spec, directory=tmp_path)
    assert gang.exit_codes() == [1]
    assert "training diverged: the loss of step" in gang.outcome()["cause"]
    assert all(map(math.isfinite, saved(tmp_path).values()))
    assert not list(tmp_path.glob("model/*"))


@pytest.mark.usefixtures("read_late")
def test_a_stop_saves_and_tells_the_loss_of_the_step_after_which_it_stopped(
    start_gang: StartGang, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields: dict[str, Any] = {"model": NO_DROPOUT, "epochs": 100_000, "learningRate": 0.01}
    stopped = start_gang(specification(**fields, checkpointEverySteps=10**9), directory=tmp_path / "stopped")
    stopped.wait_for(lambda progress: progress["step"] > 5)
    stopped.terminate(0)
    assert stopped.exit_codes() == [75]
    ((step, loss),) = saved(tmp_path / "stopped").items()
    assert f"stopped after step {step} of 800000 with loss {loss}:" in stopped.outcome()["cause"]
    monkeypatch.undo()
    usual = start_gang(
        specification(**fields, checkpointEverySteps=step, keepCheckpoints=10**6), directory=tmp_path / "usual"
    )
    usual.wait_for(lambda progress: progress["checkpoint"] is not None)
    usual.terminate(0)
    usual.exit_codes()
    assert saved(tmp_path / "usual")[step] == loss


@pytest.mark.slow  # the compiler takes seconds to load
def test_model_and_loss_are_one_piece_for_a_compiler(strategy: Strategy) -> None:
    assert isinstance(strategy, Together)
    compiled = torch.compile(strategy.objective, backend="eager", fullgraph=True, dynamic=False)
    tokens = torch.arange(8).view(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(compiled(tokens, tokens), strategy.objective(tokens, tokens))


def test_the_loss_of_many_logits_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    logits = torch.randn(6, 5, 11, generator=torch.Generator().manual_seed(0), requires_grad=True)
    targets = torch.arange(30).view(6, 5) % 11
    loss, found = Loss("cross-entropy", 0.1, 1.0), []
    for most in (2**27, 4 * 11):
        monkeypatch.setattr("trainer.optimization._MOST_LOGITS", most)
        summed = loss.summed(logits, targets)
        (gradient,) = torch.autograd.grad(summed, logits)
        found.append((summed.item(), gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-7)

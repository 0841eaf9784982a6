"""Which changes of a model's inputs and outputs break who called the old one."""

from datetime import UTC, datetime

import pytest

from trainyard.inference.board import BadSync, GatewayBoard, parse_sync
from trainyard.inference.rollout.contract import MOST_TENSORS, Contract, Tensor, differences
from trainyard.inference.rollout.counting import MOST_REVISIONS

NOW = datetime(2026, 11, 30, tzinfo=UTC)
IMAGE = Tensor(name="image", datatype="FP32", shape=(-1, 784))
LOGITS = Tensor(name="logits", datatype="FP32", shape=(-1, 10))
LABEL = Tensor(name="label", datatype="INT64", shape=(-1,))
OLD = Contract(platform="pytorch", inputs=(IMAGE,), outputs=(LOGITS, LABEL))


def like(tensor: Tensor, **changes: object) -> Tensor:
    return tensor.model_copy(update=changes)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        pytest.param(OLD, OLD, (), id="the same"),
        pytest.param(
            OLD, OLD.model_copy(update={"outputs": (like(LABEL), LOGITS, like(LABEL, name="score"))}), (), id="one output more"
        ),
        pytest.param(
            OLD, OLD.model_copy(update={"inputs": (like(IMAGE, shape=(-1, -1)),)}), (), id="a fixed size may be any now"
        ),
        pytest.param(
            OLD,
            OLD.model_copy(update={"inputs": (like(IMAGE, shape=(-1, 1024)),)}),
            ("inputs[image].shape: [-1, 784] -> [-1, 1024]",),
            id="another fixed size",
        ),
        pytest.param(
            OLD.model_copy(update={"inputs": (like(IMAGE, shape=(-1, -1)),)}),
            OLD,
            ("inputs[image].shape: [-1, -1] -> [-1, 784]",),
            id="any size is fixed now",
        ),
        pytest.param(
            OLD,
            OLD.model_copy(update={"inputs": (like(IMAGE, shape=(-1, 28, 28)),)}),
            ("inputs[image].shape: [-1, 784] -> [-1, 28, 28]",),
            id="more dimensions",
        ),
        pytest.param(
            OLD,
            OLD.model_copy(update={"inputs": (IMAGE, like(LABEL, name="mask"))}),
            ("inputs[mask]: none -> INT64 [-1]",),
            id="one input more, which nobody sends",
        ),
        pytest.param(
            OLD,
            OLD.model_copy(update={"inputs": (like(IMAGE, name="pixels"),)}),
            ("inputs[image]: FP32 [-1, 784] -> none", "inputs[pixels]: none -> FP32 [-1, 784]"),
            id="an input of another name",
        ),
        pytest.param(
            OLD,
            OLD.model_copy(update={"outputs": (LOGITS,)}),
            ("outputs[label]: INT64 [-1] -> none",),
            id="an output is gone",
        ),
        pytest.param(
            OLD,
            OLD.model_copy(update={"outputs": (like(LOGITS, datatype="FP16", shape=(-1, 12)), LABEL)}),
            ("outputs[logits].datatype: FP32 -> FP16", "outputs[logits].shape: [-1, 10] -> [-1, 12]"),
            id="another datatype and another number of classes",
        ),
        pytest.param(OLD, OLD.model_copy(update={"platform": ""}), ("platform: pytorch -> none",), id="another platform"),
    ],
)  # fmt: skip
def test_what_breaks_callers_is_named(old: Contract, new: Contract, said: tuple[str, ...]) -> None:
    assert differences(old, new) == said


def a_report(contracts: dict[str, object]) -> dict[str, object]:
    return {"namespace": "n", "service": "s", "serviceUid": "u", "pod": "g", "generation": 1, "contracts": contracts}


def test_what_gateways_read_is_kept_until_the_service_goes() -> None:
    board = GatewayBoard()
    board.put(parse_sync(a_report({"old": OLD.model_dump()})), NOW)
    board.put(parse_sync(a_report({})), NOW)
    assert board.contracts("u") == {"old": OLD}
    for number in range(2 * MOST_REVISIONS):
        board.put(parse_sync(a_report({f"d{number}": OLD.model_dump()})), NOW)
    assert len(board.contracts("u")) == MOST_REVISIONS
    board.forget("u")
    assert board.contracts("u") == {}


def test_a_contract_without_end_is_refused() -> None:
    with pytest.raises(BadSync, match="contracts"):
        parse_sync(a_report({"old": {"inputs": [], "outputs": [IMAGE.model_dump()] * (MOST_TENSORS + 1)}}))

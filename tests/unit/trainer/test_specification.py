"""A wrong request is refused with the field, its value and what there is, before anything slow starts."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainer.errors import ConfigurationError
from trainer.specification import Training, parse_specification

MODELS = ("cnn", "gan", "gru", "linear", "llama", "lstm", "mlp", "resnet", "transformer")
DATASETS = ("diabetes", "digits", "docs", "files", "iris", "order", "series")


def parse(training: dict[str, Any] | None = None, **other: Any) -> Training:
    document = {"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "training": training or {}, **other}
    return parse_specification(json.dumps(document)).training


def test_all_of_training_has_defaults() -> None:
    training = parse()
    assert (training.epochs, training.batch_size, training.optimizer, training.learning_rate) == (5, 64, "adamw", 0.001)
    assert (training.keep_checkpoints, training.checkpoint_every_steps, training.loss) == (3, None, None)
    assert (training.keep_best, training.best_metric, training.keep_every_hours) == (0, None, None)
    assert training.async_checkpoints


@pytest.mark.parametrize("every", [1, 500, "auto"])
def test_checkpoints_come_by_number_or_by_themselves(every: object) -> None:
    assert parse({"checkpointEverySteps": every}).checkpoint_every_steps == every


def test_null_means_the_default_as_the_api_server_writes_unset_fields() -> None:
    assert parse({"epochs": None, "seed": None, "loss": None}) == parse()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("epochs", True),
        ("epochs", "5"),
        ("batchSize", -1),
        ("batchSize", 2**40),
        ("learningRate", 0),
        ("learningRate", -1e-3),
        ("learningRate", float("nan")),
        ("learningRate", float("inf")),
        ("weightDecay", -0.1),
        ("momentum", 1),
        ("seed", -1),
        ("labelSmoothing", 1),
        ("checkpointEverySteps", 0),
        ("checkpointEverySteps", "often"),
        ("checkpointEverySteps", True),
        ("keepCheckpoints", 0),
        ("keepBest", -1),
        ("bestMetric", ""),
        ("keepEveryHours", 0),
        ("asyncCheckpoints", "yes"),
        ("testFraction", 0),
        ("testFraction", 1),
        ("optimizer", "lion"),
        ("optimizer", ["adamw"]),
        ("loss", "hinge"),
        ("loss", {}),
    ],
)
def test_a_bad_value_is_named_with_its_field(field: str, value: object) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse({field: value})
    assert caught.value.field == f"training.{field}"
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("other", "field", "available"),
    [
        ({"model": {"name": "diffusion"}}, "model.name", MODELS),
        ({"dataset": {"name": "imagenet"}}, "dataset.name", DATASETS),
        ({"model": {}}, "model", MODELS),
        ({"model": "cnn"}, "model", MODELS),
        ({"dataset": None}, "dataset", DATASETS),
        ({"training": {"optimizer": "lion"}}, "training.optimizer", ("adam", "adamw", "gd", "sgd")),
        ({"training": {"loss": "hinge"}}, "training.loss", ("cross-entropy", "mse")),
        ({"training": {"loss": "mse"}}, "training.loss", ("cross-entropy",)),
        ({"dataset": {"name": "iris"}}, "model.name", ("gru", "linear", "lstm", "mlp", "transformer")),
        ({"model": {"name": "cnn", "parameters": {"depth": 3}}}, "model.parameters", ("dropout", "width")),
    ],
)
def test_an_unknown_name_is_answered_with_what_there_is(
    other: dict[str, Any], field: str, available: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(**other)
    assert caught.value.field == field
    assert caught.value.available == available


@pytest.mark.parametrize(
    "other",
    [
        {"training": ["epochs"]},
        {"training": {"stepDelaySeconds": 1}},
        {"model": {"name": "cnn", "parameters": []}},
        {"model": {"name": "cnn", "parameters": {"width": 0}}},
        {"model": {"name": "cnn", "parameters": {"dropout": 1.0}}},
        {"model": {"name": "mlp", "parameters": {"hidden": [0]}}},
        {"model": {"name": "mlp", "parameters": {"hidden": 128}}},
        {"dataset": {"name": "digits", "parameters": {"shuffle": True}}},
        {
            "model": {"name": "mlp"},
            "dataset": {"name": "diabetes"},
            "training": {"labelSmoothing": 0.1},
        },
    ],
)
def test_what_cannot_work_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        parse(**other)


@pytest.mark.parametrize(
    ("model", "dataset", "wanted"),
    [
        ("linear", "docs", ("gru", "llama", "lstm", "transformer")),
        ("llama", "order", ("gru", "lstm", "transformer")),
        ("cnn", "series", ("gru", "linear", "lstm", "mlp", "transformer")),
    ],
)
def test_a_model_that_does_not_suit_the_data_is_answered_with_those_that_do(
    model: str, dataset: str, wanted: tuple[str, ...]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(model={"name": model}, dataset={"name": dataset})
    assert (caught.value.field, caught.value.available) == ("model.name", wanted)


@pytest.mark.parametrize("text", ["", "nonsense", "[]", "3", '{"model": '])
def test_a_specification_that_is_no_object_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="TRAINYARD_SPEC"):
        parse_specification(text)


def test_a_step_must_have_a_sample_for_each_worker() -> None:
    text = json.dumps({"model": {"name": "cnn"}, "dataset": {"name": "digits"}, "training": {"batchSize": 3}})
    assert parse_specification(text, workers=3).training.batch_size == 3
    with pytest.raises(ConfigurationError, match="each of the 4 workers"):
        parse_specification(text, workers=4)


@given(
    st.dictionaries(
        st.sampled_from(["epochs", "batchSize", "learningRate", "momentum", "optimizer", "loss", "seed", "other"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda children: (
                st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=2), children, max_size=2)
            ),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_whatever_stands_in_training_it_is_accepted_or_refused_in_words(training: dict[str, Any]) -> None:
    refused: str | None = None
    accepted: Training | None = None
    try:
        accepted = parse(training)
    except ConfigurationError as error:
        refused = error.field
    assert refused is None or refused.startswith("training.")
    assert accepted is None or (accepted.epochs >= 1 and math.isfinite(accepted.learning_rate))

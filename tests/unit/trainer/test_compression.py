"""The program that compresses: what it takes, what it leaves on the claim, what it tells."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from trainer.agent import main as agent
from trainer.compression.program import NothingPublishedError
from trainer.compression.specification import Compression, Source, parse_compression
from trainer.control import StopSignal
from trainer.environment import Environment, read_environment
from trainer.errors import ConfigurationError, ExitCode, StopRequested
from trainer.models import load_exported
from trainer.spending import Spending
from trainer.train import run

from tests.unit.trainer.compressing import exported
from tests.unit.trainer.gang import StartGang

GOING = cast(StopSignal, SimpleNamespace(received=False))
STOPPED = cast(StopSignal, SimpleNamespace(received=True))
HALF: dict[str, Any] = {"name": "half", "method": "Pruned", "parameters": {"fraction": 0.5, "epochs": 0}}
TINY = {"name": "tiny", "method": "Pruned", "parameters": {"fraction": 0.99, "epochs": 0}}
BYTES = {"name": "bytes", "method": "Int8Weights"}
FLOAT8 = {"name": "fp8", "method": "Float8"}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.compression.measuring._SECONDS", 0.0)


def compress(found: Environment, stop: StopSignal) -> None:
    run(found, stop, Spending())


def parsed(spec: dict[str, Any], **how: Any) -> Compression:
    found = parse_compression(json.dumps(spec), **how)
    assert found is not None
    return found


def document(path: object, *variants: Any, maximum_loss: float = 1.0, **more: Any) -> dict[str, Any]:
    asked = {"parent": {"path": str(path)}, "maximumLoss": maximum_loss, "variants": list(variants), **more}
    return {"compression": asked}


def environment(tmp_path: Path, spec: dict[str, Any]) -> Environment:
    (tmp_path / "run").mkdir(exist_ok=True)
    return read_environment(
        {
            "TRAINYARD_SPEC": json.dumps(spec),
            "TRAINYARD_JOB": "smaller",
            "TRAINYARD_DIR": str(tmp_path / "claim" / "smaller-1"),
            "TRAINYARD_RUN_DIR": str(tmp_path / "run"),
        }
    )


def test_what_is_published_lies_on_the_claim_and_the_fastest_at_the_top(tmp_path: Path) -> None:
    parent = exported(tmp_path / "parent", hidden=[1024, 1024])
    compress(environment(tmp_path, document(parent, HALF, BYTES, TINY, FLOAT8)), GOING)
    folder = tmp_path / "claim" / "smaller-1" / "model" / "attempt-1"
    report = json.loads((folder / "variants" / "variants.json").read_bytes())
    verdicts = {each["name"]: each["verdict"] for each in report["variants"]}
    assert verdicts == {"half": "Published", "tiny": "Published", "bytes": "Refused", "fp8": "Refused"}
    assert report["best"] == "tiny"
    module, card = load_exported(folder)
    assert module.body[1].out_features == card["architecture"]["parameters"]["hidden"][0] == 10
    assert card["name"] == "iris"
    assert card["variant"]["parent"] == report["parent"]["digest"]
    assert card["metrics"]["accuracy"] == next(e["metric"] for e in report["variants"] if e["name"] == "tiny")
    half, _ = load_exported(folder / "variants" / "half", report["variants"][0]["digest"])
    assert half is not None
    assert not (folder / "variants" / "bytes").exists(), "what is refused is not there to be served"
    told = json.loads((tmp_path / "run" / "progress.json").read_bytes())
    assert told["result"]["path"] == "smaller-1/model/attempt-1"
    assert told["result"]["digest"] == card["digest"]
    variants = {each["name"]: each for each in told["result"]["variants"]}
    assert {name: each["verdict"] for name, each in variants.items()} == verdicts
    assert variants["half"]["digest"] == report["variants"][0]["digest"]
    assert variants["half"]["metrics"] == {"accuracy": report["variants"][0]["metric"]}
    assert [each["batchSize"] for each in variants["bytes"]["latencies"]] == [1, 32]
    assert "ms against" in variants["bytes"]["reason"]
    assert "digest" not in variants["bytes"]
    assert told["metrics"]["published"] == told["metrics"]["refused"] == 2
    assert told["phase"] == "done"


def test_every_variant_has_its_figures_and_its_reason(tmp_path: Path) -> None:
    parent = exported(tmp_path / "parent", hidden=[512, 512])
    compress(environment(tmp_path, document(parent, HALF, BYTES, FLOAT8, batchSizes=[4])), GOING)
    report = json.loads((tmp_path / "claim/smaller-1/model/attempt-1/variants/variants.json").read_bytes())
    half, rounded, floats = report["variants"]
    assert half["sizeBytes"] < rounded["sizeBytes"] < report["parent"]["sizeBytes"]
    assert list(half["latencySeconds"]) == list(half["parentLatencySeconds"]) == ["4"]
    assert rounded["sqnrDecibels"] > 30
    assert "ms against" in rounded["reason"]
    assert floats["reason"].startswith("needs an NVIDIA GPU")
    assert "metric" not in floats


def test_where_no_variant_is_published_the_job_fails_and_says_why_of_each(tmp_path: Path) -> None:
    parent = exported(tmp_path / "parent", hidden=[512, 512])
    with pytest.raises(
        NothingPublishedError, match=r"no variant is published\. bytes: slower .*; fp8: needs"
    ) as caught:
        compress(environment(tmp_path, document(parent, BYTES, FLOAT8)), GOING)
    assert caught.value.exit_code == ExitCode.CONFIGURATION
    folder = tmp_path / "claim" / "smaller-1" / "model" / "attempt-1"
    assert json.loads((folder / "variants" / "variants.json").read_bytes())["best"] is None
    assert not (folder / "model.safetensors").exists()
    assert json.loads((tmp_path / "run" / "progress.json").read_bytes())["result"] is None


def test_a_variant_that_lost_too_much_is_refused_with_the_figures(tmp_path: Path, start_gang: StartGang) -> None:
    spec = {
        "model": {"name": "mlp", "parameters": {"hidden": [128]}},
        "dataset": {"name": "iris"},
        "training": {"epochs": 10, "learningRate": 0.02},
    }
    assert start_gang(spec, directory=tmp_path / "job").exit_codes() == [0]
    parent = tmp_path / "job" / "model" / "attempt-1"
    with pytest.raises(NothingPublishedError, match=r"tiny: accuracy 0\.\d+ is 0\.\d+ worse than the parent's 0\.\d+"):
        compress(environment(tmp_path, document(parent, TINY, maximum_loss=0.02)), GOING)


def test_the_agent_and_the_trainer_run_it_as_they_run_training(tmp_path: Path, start_gang: StartGang) -> None:
    spec = document(exported(tmp_path / "parent", hidden=[1024, 1024]), TINY)
    gang = start_gang(spec, directory=tmp_path / "claim")
    assert gang.exit_codes() == [0]
    assert gang.progress()["phase"] == "done"


def test_a_stop_is_obeyed_before_the_next_variant(tmp_path: Path) -> None:
    with pytest.raises(StopRequested):
        compress(environment(tmp_path, document(exported(tmp_path / "parent"), HALF)), STOPPED)
    assert not list((tmp_path / "claim").rglob("*.safetensors"))


def test_it_needs_storage(tmp_path: Path) -> None:
    found = read_environment({"TRAINYARD_SPEC": json.dumps(document(tmp_path, HALF))})
    with pytest.raises(ConfigurationError, match="storage"):
        compress(found, GOING)


@pytest.mark.parametrize(
    ("card", "words"),
    [({"compression": {"method": "Int8Dynamic", "layers": []}}, "quantised"), ({"split": None}, "data")],
)
def test_a_model_that_cannot_be_compressed_is_refused(tmp_path: Path, card: dict[str, Any], words: str) -> None:
    parent = exported(tmp_path / "parent")
    read = json.loads((parent / "card.json").read_bytes()) | card
    (parent / "card.json").write_text(json.dumps({name: value for name, value in read.items() if value is not None}))
    with pytest.raises(ConfigurationError, match=words):
        compress(environment(tmp_path, document(parent, HALF)), GOING)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"compression\.parent.*card\.json"):
        compress(environment(tmp_path, document(tmp_path, HALF)), GOING)


def test_another_digest_than_the_one_asked_for_is_refused(tmp_path: Path) -> None:
    parent = exported(tmp_path / "parent")
    spec = document(parent, HALF)
    spec["compression"]["parent"]["digest"] = "sha256:" + "0" * 64
    with pytest.raises(ConfigurationError, match="the caller expects"):
        compress(environment(tmp_path, spec), GOING)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variants": []}, r"compression\.variants"),
        ({"variants": [HALF, HALF]}, "a name that no other variant has"),
        ({"variants": [{"name": "a/b", "method": "Pruned"}]}, r"variants\[0\]\.name: 'a/b' .* lower case letters"),
        ({"variants": [{"name": "a" * 41, "method": "Float16"}]}, "at most 40"),
        ({"variants": [{"name": "a", "method": "Zip"}]}, "there is: BFloat16, Distilled"),
        (
            {"variants": [{"name": "a", "method": "Int8Dynamic", "parameters": {"bits": 4}}]},
            "a parameter of Int8Dynamic",
        ),
        ({"variants": [{"name": "a", "method": "Pruned", "parameters": {"fraction": 1.0}}]}, "fraction"),
        ({"variants": [{"name": "a", "method": "Distilled"}]}, "student"),
        (
            {"variants": [{"name": "a", "method": "Distilled", "parameters": {"student": {"name": "mlpp"}}}]},
            "the name of a model",
        ),
        ({"maximumLoss": -1}, "maximumLoss"),
        ({"maximumLoss": True}, "maximumLoss"),
        ({"batchSizes": [0]}, "batchSizes"),
        ({"batchSizes": list(range(1, 10))}, "at most 8"),
        ({"parent": {}}, r"compression\.parent"),
    ],
)
def test_a_wrong_field_is_named_before_anything_slow_starts(change: dict[str, Any], words: str) -> None:
    spec = document("/model", HALF)
    spec["compression"] |= change
    with pytest.raises(ConfigurationError, match=words):
        parse_compression(json.dumps(spec))


def test_unset_fields_have_defaults() -> None:
    found = parsed(document("/model", HALF), workers=1)
    assert found.batch_sizes == (1, 32)
    assert found.variants[0].parameters["temperature"] == 4.0
    assert found.parent == Source("/model")


def trained_and_compressed(*variants: Any, model: str = "mlp", **parameters: Any) -> dict[str, Any]:
    return {
        "model": {"name": model, "parameters": parameters},
        "dataset": {"name": "iris"},
        "training": {"epochs": 2},
        "compression": {"maximumLoss": 1.0, "batchSizes": [1], "variants": list(variants)},
    }


def test_a_job_may_compress_what_it_trains_itself() -> None:
    assert parsed(trained_and_compressed(HALF)).parent is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"compression": document("/model", HALF)["compression"]},
            r"compression\.parent: .* expected none beside a model",
        ),
        ({"model": {"name": "gan"}}, r"model\.name: 'gan' .* expected a model that answers"),
    ],
)
def test_what_a_job_trains_must_be_what_it_can_compress(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parsed(trained_and_compressed(HALF) | change)


def test_the_trained_model_stays_the_result_and_has_its_variants_below_it(
    tmp_path: Path, start_gang: StartGang
) -> None:
    gang = start_gang(trained_and_compressed(HALF, FLOAT8, hidden=[2048, 2048]), directory=tmp_path / "job")
    assert gang.exit_codes() == [0]
    told = gang.progress()
    folder = tmp_path / "job" / "model" / "attempt-1"
    module, card = load_exported(folder, told["result"]["digest"])
    assert module.body[1].out_features == 2048
    half, fp8 = told["result"]["variants"]
    assert (half["verdict"], fp8["verdict"]) == ("Published", "Refused")
    assert load_exported(folder / "variants" / "half", half["digest"])[1]["variant"]["parent"] == card["digest"]
    assert json.loads((folder / "variants" / "variants.json").read_bytes())["best"] == "half"
    assert told["metrics"]["accuracy"] == card["metrics"]["accuracy"], "the measures stay those of the trained model"
    assert (told["phase"], told["step"]) == ("done", told["totalSteps"])


def test_a_trained_model_of_which_no_variant_is_published_is_a_result_with_a_warning(
    tmp_path: Path, start_gang: StartGang
) -> None:
    gang = start_gang(trained_and_compressed(FLOAT8), directory=tmp_path / "job")
    assert gang.exit_codes() == [0]
    told = gang.progress()
    assert [each["verdict"] for each in told["result"]["variants"]] == ["Refused"]
    assert "no variant is published. fp8: needs" in told["warning"]
    assert load_exported(tmp_path / "job" / "model" / "attempt-1", told["result"]["digest"])


def test_tuning_steps_come_on_top_of_those_of_training(tmp_path: Path, start_gang: StartGang) -> None:
    tuned = {"name": "half", "method": "Pruned", "parameters": {"epochs": 2}}
    gang = start_gang(trained_and_compressed(tuned, hidden=[64]), directory=tmp_path / "job")
    assert gang.exit_codes() == [0]
    steps = 2 * -(-120 // 64)
    assert (gang.progress()["step"], gang.progress()["totalSteps"]) == (2 * steps, 2 * steps)


def test_more_than_one_process_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="1 process"):
        parsed(document("/model", HALF), workers=2)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": {}}'])
def test_a_training_is_no_compression(text: str) -> None:
    assert parse_compression(text) is None


def test_the_agent_refuses_what_can_never_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAINYARD_SPEC", json.dumps(document("/model", {"name": "a", "method": "Zip"})))
    monkeypatch.setenv("TRAINYARD_TERMINATION_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("TRAINYARD_RUN_DIR", str(tmp_path / "run"))
    assert agent([]) == ExitCode.CONFIGURATION
    assert "compression.variants[0].method" in (tmp_path / "log").read_text()

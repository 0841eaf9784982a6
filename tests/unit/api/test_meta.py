"""The small types that all kinds share."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from trainyard.api.admission import compact
from trainyard.api.meta import (
    FOLDER,
    LabelSelector,
    Model,
    Pool,
    PreciseTime,
    ResourceRequirements,
    Taint,
    Time,
    Toleration,
)


class Times(Model):
    """Both ways of writing a time."""

    seconds: Time
    precise: PreciseTime


@given(st.lists(st.sampled_from(["a", "b1", "b2", "node-10", "node-11", ""]), max_size=40))
def test_a_compact_assignment_reads_back(nodes: list[str]) -> None:
    assert compact("worker", nodes).nodes() == nodes


def test_times_are_written_in_utc() -> None:
    time = datetime(2026, 11, 23, 12, 30, 5, 250_000, timezone(timedelta(hours=2)))
    written = Times(seconds=time, precise=time).model_dump(mode="json")
    assert written == {"seconds": "2026-11-23T10:30:05Z", "precise": "2026-11-23T10:30:05.250000Z"}
    assert Times.model_validate(written).precise == time.astimezone(UTC)


@pytest.mark.parametrize(
    ("selector", "holds"),
    [
        ({}, False),
        ({"matchLabels": {"team": "a"}}, True),
        ({"matchLabels": {"team": "b"}}, False),
        ({"matchExpressions": [{"key": "team", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "In", "values": ["a", "c"]}]}, True),
        ({"matchExpressions": [{"key": "team", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchLabels": {"team": "a"}, "matchExpressions": [{"key": "x", "operator": "Exists"}]}, False),
    ],
)
def test_label_selectors(selector: dict[str, object], holds: bool) -> None:
    assert LabelSelector.model_validate(selector).matches({"team": "a"}) is holds


@pytest.mark.parametrize(
    ("toleration", "holds"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "gpu", "operator": "Exists"}, True),
        ({"key": "gpu", "value": "yes"}, True),
        ({"key": "gpu", "value": "no"}, False),
        ({"key": "gpu", "value": "yes", "effect": "NoExecute"}, False),
        ({"key": "cpu", "operator": "Exists"}, False),
    ],
)
def test_tolerations(toleration: dict[str, object], holds: bool) -> None:
    assert Toleration.model_validate(toleration).tolerates(Taint(key="gpu", value="yes")) is holds


def test_equal_parts_of_many_objects_are_one_as_long_as_somebody_uses_them() -> None:
    pool = Pool()

    def made(gpus: str, pool: Pool | None = pool) -> ResourceRequirements:
        return ResourceRequirements.model_validate({"limits": {"nvidia.com/gpu": gpus}}, context=pool)

    four = made("4")
    assert made("4") is four
    assert made("8") != four
    assert made("4", pool=None) is not four
    assert len(pool) == 1, "nobody uses the other"
    del four
    assert not pool


def test_parts_of_different_kinds_that_say_the_same_are_not_taken_for_one_another() -> None:
    pool = Pool()
    kept = [Toleration.model_validate({}, context=pool), ResourceRequirements.model_validate({}, context=pool)]
    assert [type(each) for each in kept] == [Toleration, ResourceRequirements]


def test_what_cannot_be_compared_is_read_all_the_same() -> None:
    huge = Toleration.model_validate({"key": "a", "seconds": 1 << 64}, context=Pool())
    assert huge == Toleration(key="a")


def test_what_is_not_valid_is_refused_however_often_it_comes() -> None:
    pool = Pool()
    for _ in range(2):
        with pytest.raises(ValidationError, match="operator"):
            Toleration.model_validate({"operator": "Maybe"}, context=pool)


@pytest.mark.parametrize(
    "path",
    ["m", "m/", "a/b", ".", "./a", "a//b", ".hidden", "..a/b", "a/...", "...", "runs/digits-1.2/export", "a b", "ä"],
)
def test_a_folder_on_a_claim_is_named_from_the_claim_on(path: str) -> None:
    assert TypeAdapter(Annotated[str, Field(pattern=FOLDER)]).validate_python(path) == path


@pytest.mark.parametrize(
    "path", ["/", "/etc", "..", "../a", "a/..", "a/../..", "a//../b", "./..", "../../var/run/secrets"]
)
def test_it_does_not_lead_out_of_the_claim(path: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Annotated[str, Field(pattern=FOLDER)]).validate_python(path)

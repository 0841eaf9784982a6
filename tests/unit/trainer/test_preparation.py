"""Cleaning, splitting and normalising, on made-up and on the real data."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from trainer.datasets.catalogue import Task
from trainer.datasets.preparation import clean, measure, prepare, split
from trainer.datasets.raw import RawData, load_raw
from trainer.errors import ConfigurationError, DataError

NAN = float("nan")


def classes(inputs: list[list[float]], targets: list[int]) -> RawData:
    return RawData(np.array(inputs, dtype=np.float32), np.array(targets), Task.CLASSIFICATION)


def test_samples_with_missing_or_infinite_values_go() -> None:
    data, cleaning = clean(classes([[1, 2], [NAN, 2], [3, float("inf")], [4, 5]], [0, 1, 0, 1]))
    assert data.inputs.tolist() == [[1, 2], [4, 5]]
    assert cleaning.missing == 2


def test_a_missing_target_counts_as_missing() -> None:
    raw = RawData(np.eye(3, dtype=np.float32), np.array([1.0, NAN, 3.0], dtype=np.float32), Task.REGRESSION)
    assert clean(raw)[0].targets.tolist() == [1.0, 3.0]


def test_of_equal_samples_the_first_stays_and_of_contradicting_ones_none() -> None:
    data, cleaning = clean(classes([[1], [2], [1], [3], [3], [0.0], [-0.0]], [0, 1, 0, 0, 1, 1, 1]))
    assert data.inputs.tolist() == [[1], [2], [0]]
    assert (cleaning.missing, cleaning.duplicates, cleaning.conflicting) == (0, 2, 2)


values = st.one_of(st.integers(0, 3).map(float), st.just(NAN))


@given(st.lists(st.tuples(values, values, st.integers(0, 2)), min_size=1, max_size=40))
def test_after_cleaning_inputs_are_finite_and_differ_and_nothing_was_invented(
    rows: list[tuple[float, float, int]],
) -> None:
    raw = classes([[first, second] for first, second, _ in rows], [target for *_, target in rows])
    data, cleaning = clean(raw)
    kept = {(*inputs, target) for inputs, target in zip(data.inputs.tolist(), data.targets.tolist(), strict=True)}
    assert np.isfinite(data.inputs).all()
    assert len({tuple(inputs) for inputs in data.inputs.tolist()}) == len(data)
    assert kept <= {row for row in rows if not np.isnan(row[:2]).any()}
    assert len(raw) == len(data) + cleaning.missing + cleaning.duplicates + cleaning.conflicting
    assert clean(data)[0].inputs.tolist() == data.inputs.tolist()


@given(
    arrays(np.int64, st.integers(2, 120), elements=st.integers(0, 4)),
    st.floats(0.05, 0.6),
    st.integers(0, 1000),
)
def test_a_split_shares_nothing_keeps_all_and_keeps_proportions(
    targets: NDArray[np.int64], fraction: float, seed: int
) -> None:
    data = RawData(np.zeros((len(targets), 1), dtype=np.float32), targets, Task.CLASSIFICATION)
    train, held_out = split(data, fraction, seed)
    assert sorted([*train, *held_out]) == list(range(len(targets)))
    for value in np.unique(targets):
        size = int((targets == value).sum())
        held = int((targets[held_out] == value).sum())
        assert abs(held - fraction * size) <= 1
        if size > 1:
            assert 0 < held < size


def test_the_split_depends_on_the_seed_alone() -> None:
    data = load_raw("digits", {})
    first, again, other = (split(data, 0.2, seed)[1] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_regressions_parts_span_the_same_range() -> None:
    data = load_raw("diabetes", {})
    train, held_out = split(data, 0.2, 0)
    for quantile in (0.1, 0.5, 0.9):
        difference = np.quantile(data.targets[train], quantile) - np.quantile(data.targets[held_out], quantile)
        assert abs(difference) < 0.2 * data.targets.std()


def test_normalisation_is_learned_from_the_training_part_alone() -> None:
    raw = load_raw("iris", {})
    data = prepare(raw, held_out_fraction=0.2, seed=0)
    assert data.normalisation is not None
    assert data.normalisation.mean == pytest.approx(data.train.inputs.mean(axis=0).tolist())
    assert data.normalisation.mean != pytest.approx(clean(raw)[0].inputs.mean(axis=0).tolist(), abs=1e-6)


def test_single_channel_images_have_one_mean_and_colour_images_one_for_each_channel() -> None:
    assert isinstance(measure(np.random.default_rng(0).random((5, 1, 4, 4), dtype=np.float32)).mean, float)
    assert np.shape(measure(np.random.default_rng(0).random((5, 3, 4, 4), dtype=np.float32)).mean) == (3,)


def test_a_value_that_never_changes_does_not_divide_by_zero() -> None:
    assert measure(np.array([[1, 2], [1, 3]], dtype=np.float32)).std == [1.0, 0.5]


@pytest.mark.parametrize(
    ("name", "samples", "shape", "task", "duplicates"),
    [
        ("digits", 1797, (1, 8, 8), Task.CLASSIFICATION, 0),
        ("iris", 149, (4,), Task.CLASSIFICATION, 1),
        ("diabetes", 442, (10,), Task.REGRESSION, 0),
    ],
)
def test_the_real_data_sets_are_whole(
    name: str, samples: int, shape: tuple[int, ...], task: Task, duplicates: int
) -> None:
    data, cleaning = clean(load_raw(name, {}))
    assert (len(data), data.inputs.shape[1:], data.task) == (samples, shape, task)
    assert (cleaning.missing, cleaning.duplicates, cleaning.conflicting) == (0, duplicates, 0)
    assert data.inputs.dtype == np.float32


def test_a_series_is_read_in_windows_each_with_what_comes_after_it() -> None:
    near, far = (load_raw("series", {"context": 5, "horizon": horizon}) for horizon in (1, 3))
    assert (near.inputs.shape[1], near.task) == (5, Task.REGRESSION)
    # Windows are three apart: what comes 3 after one is the last reading of the next of its course, 1 after it the third.
    for data, reading in ((far, -1), (near, 2)):
        assert data.groups is not None
        assert len(np.unique(data.groups)) == 60
        follows = data.groups[:-1] == data.groups[1:]
        assert np.array_equal(data.targets[:-1][follows], data.inputs[1:, reading][follows])


def test_courses_of_the_series_are_held_out_whole() -> None:
    data = load_raw("series", {})
    train, held_out = split(data, 0.2, seed=1)
    assert data.groups is not None
    assert not set(data.groups[train]) & set(data.groups[held_out])
    assert len(held_out) == pytest.approx(0.2 * len(data), rel=0.05)


def test_only_the_order_of_marks_tells_the_classes_of_text_apart() -> None:
    data = load_raw("order", {"context": 9})
    assert (data.task, data.vocabulary, data.labels) == (
        Task.CLASSIFICATION,
        29,
        ("ABC", "ACB", "BAC", "BCA", "CAB", "CBA"),
    )
    assert data.labels is not None
    marks = data.inputs >= 26
    assert (marks.sum(axis=1) == 3).all()
    read = ["".join("ABC"[token - 26] for token in text[here]) for text, here in zip(data.inputs, marks, strict=True)]
    assert read == [data.labels[number] for number in data.targets]
    assert prepare(data, held_out_fraction=0.2, seed=0).normalisation is None


def test_digits_are_raw_pixels_with_whole_numbers_as_labels() -> None:
    data = load_raw("digits", {})
    assert (data.inputs.min(), data.inputs.max()) == (0, 16)
    assert data.labels == tuple(range(10))


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="there is: diabetes, digits, docs, files, iris, order, series"):
        load_raw("imagenet", {})


@pytest.mark.parametrize("inputs", [[[1.0]], [[NAN], [NAN]]])
def test_too_little_data_is_said(inputs: list[Any]) -> None:
    with pytest.raises(DataError, match="cannot be split"):
        prepare(classes(inputs, [0] * len(inputs)), held_out_fraction=0.2, seed=0)

"""Tables from CSV and Parquet: columns become inputs, rows with holes go or are filled, and bad columns are named."""

import statistics
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from trainer.datasets import files_columns, files_tables
from trainer.datasets.catalogue import Task
from trainer.datasets.file_parameters import Fill
from trainer.datasets.files import load
from trainer.datasets.files_cleaning import clip_outliers, fill_missing, usable
from trainer.datasets.preparation import prepare
from trainer.datasets.raw import RawData
from trainer.errors import DataError

HOUSES = "area,colour,rooms,price\n10,red,1,5.5\n20,blue,2,6.5\n30,red,3,7.5\n"
REGRESSION = {"task": "regression", "target": "price"}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path


def of_csv(place: Path, *texts: str, **how: Any) -> RawData:
    """The data set of CSV files with these texts."""
    for number, text in enumerate(texts):
        (place / f"part-{number}.csv").write_bytes(text.encode(errors="surrogateescape"))
    return load({"url": str(place), "format": "csv", "target": "y"} | how)


def of_parquet(place: Path, columns: dict[str, Any], **how: Any) -> RawData:
    parquet.write_table(pa.table(columns), place / "a.parquet")
    return load({"url": f"{place}/a.parquet", "format": "parquet", "target": "y"} | how)


def test_numbers_stay_and_text_becomes_one_input_for_each_value_in_sorted_order(place: Path) -> None:
    data = of_csv(place, HOUSES, **REGRESSION)
    assert data.inputs.tolist() == [[10, 0, 1, 1], [20, 1, 0, 2], [30, 0, 1, 3]]
    assert data.targets.tolist() == [5.5, 6.5, 7.5]
    assert data.inputs.dtype == data.targets.dtype == np.float32
    assert (data.task, data.labels) == (Task.REGRESSION, None)


def test_features_choose_columns_and_their_order(place: Path) -> None:
    data = of_csv(place, HOUSES, **REGRESSION, features=["rooms", "area"])
    assert data.inputs.tolist() == [[1, 10], [2, 20], [3, 30]]


@pytest.mark.parametrize(
    ("column", "labels", "targets"),
    [
        ("dog cat dog ant", ("ant", "cat", "dog"), [2, 1, 2, 0]),
        ("7 3 3 10", (3, 7, 10), [1, 0, 0, 2]),
        ("7.0 3.0 3.0 10.0", (3, 7, 10), [1, 0, 0, 2]),
        ("true false true true", ("false", "true"), [1, 0, 1, 1]),
        ("9007199254740993 9007199254740992 1 1", (1, 9007199254740992, 9007199254740993), [2, 1, 0, 0]),
    ],
)
def test_classes_are_numbered_in_the_sorted_order_of_their_labels(
    place: Path, column: str, labels: tuple[Any, ...], targets: list[int]
) -> None:
    rows = "".join(f"{number},{value}\n" for number, value in enumerate(column.split()))
    data = of_csv(place, "a,y\n" + rows)
    assert (data.labels, data.targets.tolist()) == (labels, targets)
    assert data.targets.dtype == np.int64


def test_several_files_follow_each_other_in_the_order_of_their_names(place: Path) -> None:
    data = of_csv(place, "a,y\n1,x\n", "y,a\nz,2.5\n", "a,y\n3,x\n")
    assert data.inputs.tolist() == [[1], [2.5], [3]]
    assert data.targets.tolist() == [0, 1, 0]


def test_csv_and_parquet_of_the_same_table_are_the_same_data_set(place: Path) -> None:
    of_columns = of_parquet(
        place,
        {
            "a": pa.array([1, None, 3], pa.int8()),
            "b": pa.array(["u", "v", "u"]).dictionary_encode(),
            "c": pa.array([True, False, True]),
            "d": pa.array([Decimal(1), Decimal(2), Decimal(3)], pa.decimal128(5, 2)),
            "y": pa.array(["no", "yes", "yes"], pa.large_string()),
        },
        fillMissing="mean",
    )
    (place / "a.parquet").unlink()
    of_text = of_csv(place, "a,b,c,d,y\n1,u,true,1,no\n,v,false,2,yes\n3,u,true,3,yes\n", fillMissing="mean")
    assert np.array_equal(of_columns.inputs, of_text.inputs)
    assert np.array_equal(of_columns.targets, of_text.targets)
    assert of_columns.labels == of_text.labels == ("no", "yes")


HOLES = "a,b,c,y\n1,1,u,p\n,2,v,q\n3,NA,u,p\n5,inf,v,q\n9,4,,p\n7,6,u,\n"


def test_rows_with_holes_go_by_default(place: Path) -> None:
    text = HOLES + "8,8,v,q\n"
    assert of_csv(place, text).inputs.tolist() == [[1, 1, 1, 0], [8, 8, 0, 1]]


@pytest.mark.parametrize(("fill", "a", "b"), [("mean", 3.0, 1.5), ("median", 3.0, 1.5)])
def test_missing_and_infinite_numbers_are_filled_from_their_column_but_text_and_targets_never(
    place: Path, fill: str, a: float, b: float
) -> None:
    data = of_csv(place, HOLES, fillMissing=fill)
    assert data.inputs[:, :2].tolist() == [[1, 1], [a, 2], [3, b], [5, b]]
    assert data.labels == ("p", "q")


def test_outliers_are_clipped_before_holes_are_filled(place: Path) -> None:
    text = "a,y\n1,p\n2,q\n3,p\n4,q\n1000,p\n,q\n"
    data = of_csv(place, text, fillMissing="mean", outliers={"clip": 2})
    assert data.inputs.reshape(-1).tolist() == [1, 2, 3, 4, 5, 3]


def test_a_column_that_mostly_has_one_value_is_not_flattened_by_clipping(place: Path) -> None:
    data = of_csv(place, "a,y\n0,p\n0,q\n0,p\n9,q\n", outliers={"clip": 1})
    assert data.inputs.reshape(-1).tolist() == [0, 0, 0, 9]


numbers = st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(float("nan"))), min_size=1, max_size=30).filter(
    lambda values: any(value == value for value in values)  # noqa: PLR0124 - NaN differs from itself
)


@given(numbers, st.floats(0.5, 10))
def test_clipping_and_filling_agree_with_plain_statistics(values: list[float], most: float) -> None:
    present = [value for value in values if not np.isnan(value)]
    median = statistics.median(present)
    reach = most * statistics.median(abs(value - median) for value in present) or float("inf")
    clipped = [min(max(value, median - reach), median + reach) for value in present]
    filled = fill_missing(clip_outliers(usable(np.array(values)).reshape(-1, 1), most), Fill.MEDIAN).reshape(-1)
    expected = iter(clipped)
    for value, found in zip(values, filled, strict=True):
        right = statistics.median(clipped) if np.isnan(value) else next(expected)
        assert found == pytest.approx(right, rel=1e-9, abs=1e-9)


def test_a_number_that_fp32_cannot_hold_counts_as_missing() -> None:
    assert np.isnan(usable(np.array([1e39, -np.inf, np.nan]))).all()


def row_for_each(values: list[str]) -> str:
    return "a,b,y\n" + "".join(f"{number},{value},{number % 2}\n" for number, value in enumerate(values))


@pytest.mark.parametrize(
    ("text", "how", "reason"),
    [
        (row_for_each(["5"] * 4), {}, "column b: has the same value in every row"),
        (row_for_each(["red"] * 4), {}, "column b: has the same value in every row"),
        (row_for_each([f"t{n}" for n in range(101)]), {}, "column b: text with 101 different values, more than 100"),
        (row_for_each([""] * 4), {}, "column b: has no usable value"),
        (row_for_each(["2020-01-01", "2020-01-02"]), {}, r"column b: date32\[day\] is neither number nor text"),
        ("a,y\n1,7\n2,7\n", {}, "column y: has the same value in every row"),
        ("a,y\n1,7\n2,7\n", {"task": "regression"}, "column y: has the same value in every row"),
        ("a,y\n1,\n2,\n", {}, "column y: has no usable value"),
        ("a,y\n1,0.5\n2,1\n", {}, "column y: holds 0.5, which is no class: .* ask for task regression"),
        ("a,y\n1,u\n2,v\n", {"task": "regression"}, "column y: is text: a regression learns numbers"),
        ("a,y\n1,\n2,v\n", {}, "of 2 rows 1 have all their values, at least 2 must"),
        ("a,b,y\n1,,u\n2,,v\n,1,u\n", {"fillMissing": "drop"}, "of 3 rows 0 have all their values"),
        ("a,b,y\n1,,u\n2,,v\n3,1,\n", {"fillMissing": "mean"}, "column b: has no usable value in the rows that stay"),
        ("y\n1\n2\n", {}, r"part-0\.csv: has no column beside y"),
        ("a,b\n1,2\n", {}, r"part-0\.csv: has no column y; there is: a, b"),
        ("a,y\n1,2\n", {"features": ["b"]}, r"part-0\.csv: has no column b; there is: a, y"),
        ("a,a,y\n1,2,3\n", {}, r"part-0\.csv: has 2 columns a"),
        ("a,y\n", {}, "the files have no rows"),
        ("a,y\n1,2\n3\n", {}, r"part-0\.csv: cannot be read as csv: .*Expected 2 columns, got 1"),
        ("a,y,\udcff\n1,2,3\n", {}, r"part-0\.csv: cannot be read as csv: .*codec can't decode"),
        ("", {}, r"part-0\.csv: cannot be read as csv: Empty CSV file"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_reason(place: Path, text: str, how: dict[str, Any], reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        of_csv(place, text, **how)


def test_a_bad_column_that_is_not_asked_for_does_no_harm(place: Path) -> None:
    text = row_for_each([f"t{n}" for n in range(101)])
    assert of_csv(place, text, features=["a"]).inputs.shape == (101, 1)


def test_a_hundred_texts_are_still_categories_and_the_limit_counts_rows_that_stay(place: Path) -> None:
    values = [f"t{n}" for n in range(100)]
    text = row_for_each(values) + ",late,0\n"
    assert of_csv(place, text).inputs.shape == (100, 101)


def test_too_many_classes_are_taken_for_numbers(place: Path) -> None:
    text = "a,y\n" + "".join(f"{number},{number}\n" for number in range(files_columns.MOST_CLASSES + 1))
    with pytest.raises(DataError, match=r"column y: has 1001 classes, more than 1000: .* ask for task regression"):
        of_csv(place, text)


def test_a_column_may_turn_out_as_fractions_or_text_late_in_a_large_file(place: Path) -> None:
    text = "a,b,y\n" + "1,2,0\n" * 400_000 + "2.5,red,1\n"
    assert of_csv(place, text).inputs[-1].tolist() == [2.5, 0, 1]


def test_a_later_file_with_another_column_or_type_is_named(place: Path) -> None:
    with pytest.raises(DataError, match=r"part-1\.csv: has a column b that the files before it lack"):
        of_csv(place, "a,y\n1,u\n2,v\n", "a,b,y\n1,2,u\n")
    with pytest.raises(DataError, match=r"files' columns are of different types: .*Field a"):
        of_csv(place, "a,y\n1,u\n2,v\n", "a,y\nred,u\n")


@pytest.mark.parametrize(
    "column",
    [pa.array([[1], [2]]), pa.array([b"\xff", b"\xfe"]), pa.array([{"k": 1}, {"k": 2}]), [date(2020, 1, 1)] * 2],
)
def test_columns_that_are_neither_numbers_nor_text_are_named(place: Path, column: Any) -> None:
    with pytest.raises(DataError, match=r"column a: .* is neither number nor text"):
        of_parquet(place, {"a": column, "y": ["u", "v"]})


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(200) + b"PAR1", b"a,y\n1,2\n"])
def test_a_damaged_parquet_file_is_named(place: Path, data: bytes) -> None:
    (place / "a.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as parquet: "):
        load({"url": str(place), "format": "parquet", "target": "y"})


def test_a_parquet_file_damaged_in_its_middle_is_named(place: Path) -> None:
    of_parquet(place, {"a": list(range(1000)), "y": [n % 3 for n in range(1000)]})
    data = bytearray((place / "a.parquet").read_bytes())
    data[4:300] = bytes(296)
    (place / "a.parquet").write_bytes(data)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as parquet: "):
        load({"url": str(place), "format": "parquet", "target": "y"})


def test_text_of_parquet_that_is_no_utf8_is_named(place: Path) -> None:
    of_parquet(place, {"a": ["good text", "other"], "y": ["u", "v"]})
    (place / "a.parquet").write_bytes(
        (place / "a.parquet").read_bytes().replace(b"good text", b"good \xff\xfe\xfd\xfc")
    )
    with pytest.raises(DataError, match=r"a\.parquet: cannot be read as parquet: .*UTF8"):
        load({"url": str(place), "format": "parquet", "target": "y"})


def test_a_table_that_would_fill_the_memory_is_refused(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_tables, "MOST_VALUES", 5)
    with pytest.raises(DataError, match=r"part-1\.csv: more than 5 values"):
        of_csv(place, "a,y\n1,u\n2,v\n", "a,y\n1,u\n2,v\n")
    with pytest.raises(DataError, match=r"a\.parquet: unpacks to .* bytes in 3 rows"):
        of_parquet(place, {"a": [1, 2, 3], "y": [1, 2, 1]})
    monkeypatch.setattr(files_tables, "MOST_VALUES", 2**31)
    monkeypatch.setattr(files_columns, "MOST_VALUES", 5)
    with pytest.raises(DataError, match="3 rows of 4 inputs are more than 5 values"):
        of_parquet(place, {"a": [1, 2, 3], "b": ["u", "v", "w"], "y": [1, 2, 1]})


def test_what_is_loaded_can_be_prepared_for_training(place: Path) -> None:
    text = "a,b,y\n" + "".join(f"{n},{'uvw'[n % 3]},{'pq'[n % 2]}\n" for n in range(40)) + "0,u,p\n"
    data = prepare(of_csv(place, text), held_out_fraction=0.25, seed=0)
    assert (len(data.train), len(data.held_out), data.outputs, data.cleaning.duplicates) == (30, 10, 2, 1)

"""Arrays from .npz and .npy: shapes and types are judged, and nothing is ever unpickled."""

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trainer.datasets import files_arrays
from trainer.datasets.catalogue import Task
from trainer.datasets.files import load
from trainer.datasets.raw import RawData
from trainer.errors import ConfigurationError, DataError

TABLE = np.array([[1, 2], [3, 4], [5, 60]], dtype=np.int16)
IMAGES = np.arange(48, dtype=np.uint8).reshape(3, 1, 4, 4)


def saved(place: Path, number: int = 0, **arrays: Any) -> None:
    np.savez(place / f"part-{number}.npz", **arrays)


def loaded(place: Path, **how: Any) -> RawData:
    return load({"url": str(place), "format": "npz"} | how)


@pytest.mark.parametrize("inputs", [TABLE, IMAGES, IMAGES.astype(np.float16)])
def test_tables_and_images_are_taken_as_they_are(tmp_path: Path, inputs: Any) -> None:
    saved(tmp_path, inputs=inputs, targets=np.array([4, 9, 4]))
    data = loaded(tmp_path)
    assert np.array_equal(data.inputs, inputs)
    assert data.inputs.dtype == np.float32
    assert (data.targets.tolist(), data.labels) == ([0, 1, 0], (4, 9))


def test_text_targets_become_classes(tmp_path: Path) -> None:
    saved(tmp_path, inputs=TABLE, targets=np.array(["b", "a", "b"]))
    data = loaded(tmp_path)
    assert (data.targets.tolist(), data.labels) == ([1, 0, 1], ("a", "b"))
    assert data.targets.dtype == np.int64


def test_whole_numbers_are_values_for_a_regression(tmp_path: Path) -> None:
    saved(tmp_path, inputs=TABLE, targets=np.array([4, 9, 4]))
    data = loaded(tmp_path, task="regression")
    assert (data.targets.tolist(), data.task) == ([4, 9, 4], Task.REGRESSION)
    assert data.targets.dtype == np.float32


def test_files_follow_each_other(tmp_path: Path) -> None:
    saved(tmp_path, 1, inputs=TABLE, targets=np.array([1, 1, 1]))
    saved(tmp_path, 0, inputs=-TABLE, targets=np.array([0, 0, 0]))
    assert loaded(tmp_path).inputs[:, 0].tolist() == [-1, -3, -5, 1, 3, 5]


def test_a_pair_of_npy_files_is_read_too(tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", TABLE)
    np.save(tmp_path / "targets.npy", np.array([1.5, 2.5, 3.5]))
    assert loaded(tmp_path, task="regression").targets.tolist() == [1.5, 2.5, 3.5]


def test_samples_with_holes_go_or_are_filled(tmp_path: Path) -> None:
    inputs = np.array([[1.0, 2], [np.nan, 4], [3, np.inf], [5, 60], [7, 8]])
    saved(tmp_path, inputs=inputs, targets=np.array([0, 1, 0, 1, np.nan]))
    assert loaded(tmp_path).inputs.tolist() == [[1, 2], [5, 60]]
    assert loaded(tmp_path, fillMissing="median").inputs.tolist() == [[1, 2], [3, 4], [3, 4], [5, 60]]
    clipped = loaded(tmp_path, fillMissing="median", outliers={"clip": 3})
    assert clipped.inputs[:, 1].tolist() == [2, 4, 4, 10]


def test_images_with_holes_go_and_cannot_be_filled(tmp_path: Path) -> None:
    inputs = IMAGES.astype(np.float64)
    inputs[1, 0, 2, 2] = np.nan
    saved(tmp_path, inputs=inputs, targets=np.array([0, 1, 1]))
    assert len(loaded(tmp_path)) == 2
    for how in ({"fillMissing": "mean"}, {"outliers": {"clip": 2.0}}):
        with pytest.raises(ConfigurationError, match="nothing: the inputs are images") as caught:
            loaded(tmp_path, **how)
        assert caught.value.field == f"dataset.parameters.{next(iter(how))}"


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"inputs": TABLE}, "has no array targets; there is: inputs"),
        (
            {"inputs": TABLE[0], "targets": np.arange(2)},
            r"inputs have the shape \(2,\), expected \(samples, features\)",
        ),
        ({"inputs": IMAGES[:, 0], "targets": np.arange(3)}, "or .samples, channels, height, width"),
        ({"inputs": TABLE, "targets": np.arange(2)}, r"targets are int64 of shape \(2,\), expected .* shape \(3,\)"),
        ({"inputs": TABLE.astype(str), "targets": np.arange(3)}, "inputs are <U6, expected numbers"),
        ({"inputs": TABLE.astype(complex), "targets": np.arange(3)}, "inputs are complex128, expected numbers"),
        ({"inputs": TABLE, "targets": TABLE[:, 0].astype("datetime64[s]")}, "targets are datetime64"),
        ({"inputs": np.full((3, 2), np.nan), "targets": np.arange(3)}, "of 3 rows 0 have all their values"),
    ],
)
def test_arrays_that_do_not_fit_are_named(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    saved(tmp_path, **arrays)
    with pytest.raises(DataError, match=reason) as caught:
        loaded(tmp_path)
    assert "part-0.npz" in str(caught.value) or "rows" in str(caught.value)


def test_a_column_without_a_value_is_named(tmp_path: Path) -> None:
    saved(tmp_path, inputs=np.array([[1, np.nan], [2, np.nan]]), targets=np.arange(2))
    with pytest.raises(DataError, match=r"inputs\[:, 1\]: has no usable value"):
        loaded(tmp_path, fillMissing="mean")


def test_files_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    saved(tmp_path, 0, inputs=TABLE, targets=np.arange(3))
    saved(tmp_path, 1, inputs=TABLE[:, :1], targets=np.arange(3))
    with pytest.raises(DataError, match=r"part-1\.npz: its samples have the shape \(1,\), those of part-0\.npz"):
        loaded(tmp_path)
    saved(tmp_path, 1, inputs=TABLE, targets=np.array(["a", "b", "c"]))
    with pytest.raises(DataError, match=r"part-1\.npz: its targets are <U1, unlike"):
        loaded(tmp_path)


class Trap:
    """Would say so if it were unpickled."""

    sprung = False

    def __reduce__(self) -> Any:
        return (setattr, (Trap, "sprung", True))


@pytest.mark.fault(83)
@pytest.mark.parametrize("name", ["inputs", "targets"])
def test_objects_are_never_unpickled(tmp_path: Path, name: str) -> None:
    traps = np.array([Trap(), Trap(), Trap()], dtype=object)
    arrays: dict[str, Any] = {"inputs": TABLE, "targets": np.arange(3)}
    saved(tmp_path, **(arrays | {name: traps}))
    with pytest.raises(DataError, match=r"part-0\.npz: cannot be read as an array of numbers: Object arrays"):
        loaded(tmp_path)
    with zipfile.ZipFile(tmp_path / "part-0.npz", "w") as archive:
        archive.writestr("inputs.npy", pickle.dumps(Trap()))
        archive.writestr("targets.npy", pickle.dumps(Trap()))
    with pytest.raises(DataError, match="cannot be read as an array"):
        loaded(tmp_path)
    assert not Trap.sprung


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = io.BytesIO()
    np.savez_compressed(whole, inputs=TABLE, targets=np.arange(3))
    good = whole.getvalue()
    for data in (b"", b"nonsense", good[:-30], good[:60] + bytes(20) + good[80:]):
        (tmp_path / "part-0.npz").write_bytes(data)
        with pytest.raises(DataError, match=r"part-0\.npz: "):
            loaded(tmp_path)


def test_an_array_that_claims_more_than_it_holds_is_named(tmp_path: Path) -> None:
    array = io.BytesIO()
    np.lib.format.write_array_header_1_0(array, {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2**10)})
    with zipfile.ZipFile(tmp_path / "part-0.npz", "w") as archive:
        archive.writestr("inputs.npy", array.getvalue())
        archive.writestr("targets.npy", array.getvalue())
    with pytest.raises(DataError, match=r"part-0\.npz: cannot be read as an array"):
        loaded(tmp_path)


def test_arrays_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, inputs=TABLE, targets=np.arange(3))
    monkeypatch.setattr(files_arrays, "MOST_BYTES", 100)
    with pytest.raises(DataError, match=r"part-0\.npz: unpacks to more than 100 bytes"):
        loaded(tmp_path)
    monkeypatch.setattr(files_arrays, "MOST_BYTES", 2**30)
    monkeypatch.setattr(files_arrays, "MOST_VALUES", 5)
    with pytest.raises(DataError, match=r"part-0\.npz: 6 input values are more than 5"):
        loaded(tmp_path)
    monkeypatch.setattr(files_arrays, "MOST_VALUES", 10)
    saved(tmp_path, 1, inputs=TABLE, targets=np.arange(3))
    with pytest.raises(DataError, match=r"part-1\.npz: with the files before it more than 10 input values"):
        loaded(tmp_path)


def test_loose_arrays_beside_archives_are_refused(tmp_path: Path) -> None:
    saved(tmp_path, inputs=TABLE, targets=np.arange(3))
    np.save(tmp_path / "inputs.npy", TABLE)
    np.save(tmp_path / "targets.npy", np.arange(3))
    with pytest.raises(DataError, match=r"part-0\.npz: expected inputs\.npy and targets\.npy, or files of \.npz alone"):
        loaded(tmp_path)


def test_a_lone_npy_file_is_no_data_set(tmp_path: Path) -> None:
    np.save(tmp_path / "inputs.npy", TABLE)
    with pytest.raises(DataError, match=r"inputs\.npy: expected inputs\.npy and targets\.npy"):
        loaded(tmp_path)

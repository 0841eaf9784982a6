"""What may be asked of the data set `files`: every wrong parameter is named with its value and what is right."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from trainer.datasets import file_parameters
from trainer.datasets.catalogue import Task
from trainer.datasets.file_parameters import Fill, Format, check, is_pattern, parse, public_form
from trainer.errors import ConfigurationError

DIGEST = "a1" * 32
TABLE = {"url": "/data/a.csv", "format": "csv", "target": "price"}
IMAGES = {"url": "/data/cats", "format": "images"}


def test_defaults_are_a_classification_that_drops_rows_and_clips_nothing() -> None:
    wanted = parse(TABLE)
    assert (wanted.task, wanted.fill_missing, wanted.clip) == (Task.CLASSIFICATION, Fill.DROP, None)
    assert (wanted.features, wanted.sha256, wanted.manifest) == (None, None, None)


def test_everything_that_can_be_asked_is_read() -> None:
    wanted = parse(
        TABLE
        | {"format": "parquet", "task": "regression", "features": ["b", "a"], "fillMissing": "median"}
        | {"outliers": {"clip": 5}, "sha256": {"a.parquet": DIGEST}}
    )
    assert (wanted.format, wanted.task, wanted.features) == (Format.PARQUET, Task.REGRESSION, ("b", "a"))
    assert (wanted.fill_missing, wanted.clip, wanted.sha256) == (Fill.MEDIAN, 5.0, {"a.parquet": DIGEST})


def test_a_null_counts_as_absent() -> None:
    assert parse(TABLE | {"features": None, "outliers": None, "task": None}) == parse(TABLE)


@pytest.mark.parametrize(
    "url", ["/data/*.csv", "file:///data/a.csv", "http://127.0.0.1:80/a.csv?key=1", "https://[::1]/a.csv"]
)
def test_paths_and_known_addresses_are_accepted(url: str) -> None:
    check(TABLE | {"url": url})


@pytest.mark.parametrize(
    ("given", "field", "expected"),
    [
        ({"format": "csv"}, "url", "None is not usable: expected an absolute path"),
        ({"url": "/a.csv"}, "format", "None .* there is: csv, images, npz, parquet"),
        (TABLE | {"color": "red"}, "color", "'red' .* a parameter of the data set files; there is: features, fill"),
        (TABLE | {"url": "data/a.csv"}, "url", "'data/a.csv' .* an absolute path"),
        (TABLE | {"url": 7}, "url", "7 .* an absolute path"),
        (TABLE | {"url": "ftp://host/a.csv"}, "url", "file:///, http://, https:// or s3://"),
        (TABLE | {"url": "simplecache::http://host/a.csv"}, "url", "an absolute path"),
        (TABLE | {"url": "file://data/a.csv"}, "url", "file:///"),
        (TABLE | {"url": "http://"}, "url", "an absolute path"),
        (TABLE | {"url": "http://[half/a.csv"}, "url", "an absolute path"),
        (TABLE | {"url": "http://host/*.csv"}, "url", "one file"),
        (TABLE | {"url": "http://host/data/"}, "url", "one file"),
        (TABLE | {"format": "xlsx"}, "format", "'xlsx' .* there is: csv, images, npz, parquet"),
        (TABLE | {"format": ["csv"]}, "format", "the name of a format"),
        (TABLE | {"task": "language"}, "task", "there is: classification, regression"),
        ({"url": "/a.csv", "format": "csv"}, "target", "None .* the name of the column to learn"),
        (TABLE | {"target": ""}, "target", "the name of the column"),
        (TABLE | {"features": []}, "features", "a list of names"),
        (TABLE | {"features": "a"}, "features", "a list of names"),
        (TABLE | {"features": ["a", "a"]}, "features", "each once"),
        (TABLE | {"features": [{}]}, "features", "a list of names"),
        (TABLE | {"features": ["a", "price"]}, "features", "columns without price"),
        (TABLE | {"fillMissing": "zero"}, "fillMissing", "there is: drop, mean, median"),
        (TABLE | {"outliers": 5}, "outliers", "clip"),
        (TABLE | {"outliers": {"clip": 0}}, "outliers", "above 0"),
        (TABLE | {"outliers": {"clip": True}}, "outliers", "above 0"),
        (TABLE | {"outliers": {"clip": 10**400}}, "outliers", "above 0"),
        (TABLE | {"outliers": {"clip": 5, "drop": 6}}, "outliers", "clip"),
        (TABLE | {"sha256": "abc"}, "sha256", "64 hexadecimal digits"),
        (TABLE | {"sha256": {"a.csv": "abc"}}, "sha256", "64 hexadecimal digits"),
        (TABLE | {"sha256": {}}, "sha256", "64 hexadecimal digits"),
        (TABLE | {"url": "/d/*.csv", "sha256": DIGEST}, "sha256", "one checksum for each file"),
        (TABLE | {"manifest": "SHA256SUMS"}, "manifest", "an absolute path"),
        (TABLE | {"manifest": "/d/*"}, "manifest", "of one file"),
        (TABLE | {"manifest": "/d/S", "sha256": DIGEST}, "manifest", "nothing beside sha256"),
        ({"url": "/a.npz", "format": "npz", "target": "y"}, "target", "nothing: the arrays inputs and targets"),
        ({"url": "/a.npz", "format": "npz", "features": ["y"]}, "features", "nothing: the arrays"),
        (IMAGES | {"target": "y"}, "target", "nothing: images"),
        (IMAGES | {"fillMissing": "mean"}, "fillMissing", "nothing: images"),
        (IMAGES | {"outliers": {"clip": 1}}, "outliers", "nothing: images"),
        (IMAGES | {"task": "regression"}, "task", "classification"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_value_and_what_is_right(
    given: dict[str, Any], field: str, expected: str
) -> None:
    with pytest.raises(ConfigurationError, match=expected) as caught:
        check(given)
    assert caught.value.field == f"dataset.parameters.{field}"


def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigurationError, match="no user name") as caught:
        check(TABLE | {"url": "https://me:secret@host/a.csv?token=secret"})
    assert "secret" not in str(caught.value)
    assert "https://host/a.csv" in str(caught.value)


@pytest.mark.parametrize(
    ("given", "package", "distribution", "field"),
    [
        (TABLE | {"url": "s3://bucket/a.csv"}, "s3fs", "s3fs", "url"),
        (TABLE | {"url": "https://host/a.csv"}, "aiohttp", "aiohttp", "url"),
        (TABLE | {"manifest": "s3://bucket/SHA256SUMS"}, "s3fs", "s3fs", "manifest"),
        (TABLE, "pyarrow", "pyarrow", "format"),
        (IMAGES, "PIL", "pillow", "format"),
    ],
)
def test_a_package_that_is_missing_is_named(
    given: dict[str, Any], package: str, distribution: str, field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_parameters, "find_spec", lambda name: None if name == package else object())
    with pytest.raises(ConfigurationError, match=f"package {distribution}, which is not installed") as caught:
        check(given)
    assert caught.value.field == f"dataset.parameters.{field}"


def test_an_address_is_shown_without_what_may_be_secret() -> None:
    assert public_form("https://host/a.csv?signature=1#x") == "https://host/a.csv"
    assert public_form("s3://key:secret@bucket/a?.csv") == "s3://bucket/a?.csv"
    assert public_form("/data/a?.csv") == "/data/a?.csv"


def test_the_query_of_a_web_address_makes_it_no_pattern() -> None:
    assert is_pattern("s3://bucket/part-?.csv")
    assert not is_pattern("https://host/a.csv?key=[1]")


def test_judging_parameters_imports_nothing_slow() -> None:
    program = (
        "import sys; from trainer.datasets.file_parameters import check; "
        f"check({TABLE!r}); print({{'numpy', 'pyarrow', 'fsspec', 'torch', 'PIL'}} & set(sys.modules))"
    )
    trainer = Path(file_parameters.__file__).parents[2]
    found = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(trainer)}, check=True, capture_output=True, text=True
    )
    assert found.stdout.strip() == "set()"

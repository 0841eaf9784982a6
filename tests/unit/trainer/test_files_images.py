"""Images from folders named after their classes, loose or in a zip."""

import io
import logging
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from trainer.datasets import files_images
from trainer.datasets.files import load
from trainer.datasets.raw import RawData
from trainer.errors import DataError


def put(place: Path, name: str, shade: int = 0, size: tuple[int, int] = (3, 2), mode: str = "L") -> None:
    """An image of one shade, with a white pixel at the right of its first line."""
    image = Image.new(mode, size, color=shade)
    white = 255 if isinstance(image.getpixel((0, 0)), int) else (255,) * len(image.getbands())
    image.putpixel((size[0] - 1, 0), white)
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


def loaded(url: Path, **how: Any) -> RawData:
    return load({"url": str(url), "format": "images"} | how)


def test_folders_are_classes_and_pixels_stay_as_they_are(tmp_path: Path) -> None:
    put(tmp_path, "dog/1.png", 10)
    put(tmp_path, "cat/2.png", 20)
    put(tmp_path, "cat/1.PNG", 30)
    data = loaded(tmp_path)
    assert (data.labels, data.targets.tolist()) == (("cat", "dog"), [0, 0, 1])
    assert data.inputs.tolist() == [[[[shade, shade, 255], [shade] * 3]] for shade in (30, 20, 10)]
    assert data.inputs.dtype == np.float32
    assert data.targets.dtype == np.int64


def test_one_image_in_colour_gives_all_three_channels(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png", 10)
    image = Image.new("RGB", (3, 2), color=(1, 2, 3))
    (tmp_path / "b").mkdir()
    image.save(tmp_path / "b/1.png")
    inputs = loaded(tmp_path).inputs
    assert inputs.shape == (2, 3, 2, 3)
    assert inputs[0, :, 1, 0].tolist() == [10, 10, 10]
    assert inputs[1, :, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3)])
def test_every_usual_kind_of_png_is_read(tmp_path: Path, mode: str, channels: int) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / name).parent.mkdir()
        Image.new(mode, (3, 2)).save(tmp_path / name)
    assert loaded(tmp_path).inputs.shape == (2, channels, 2, 3)


def test_jpeg_is_read(tmp_path: Path) -> None:
    put(tmp_path, "a/1.jpg", 100)
    put(tmp_path, "b/1.jpeg", 200)
    assert np.allclose(loaded(tmp_path).inputs[:, 0, 1, 0], [100, 200], atol=60)


@pytest.mark.parametrize("wrapper", ["", "animals/"])
def test_a_zip_of_the_folders_is_the_same_data_set(tmp_path: Path, wrapper: str) -> None:
    for name, shade in (("cat/1.png", 10), ("cat/2.png", 20), ("dog/1.png", 30)):
        put(tmp_path / "folder", name, shade)
    with zipfile.ZipFile(tmp_path / "images.zip", "w") as archive:
        for path in sorted((tmp_path / "folder").rglob("*.png"), reverse=True):
            archive.write(path, f"{wrapper}{path.relative_to(tmp_path / 'folder')}")
        archive.writestr("__MACOSX/cat/._1.png", b"of another program")
    of_zip, of_folder = loaded(tmp_path / "images.zip"), loaded(tmp_path / "folder")
    assert np.array_equal(of_zip.inputs, of_folder.inputs)
    assert np.array_equal(of_zip.targets, of_folder.targets)
    assert of_zip.labels == of_folder.labels


def test_other_files_are_said_and_hidden_ones_are_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "a/1.png")
    put(tmp_path, "b/1.png", 1)
    (tmp_path / "a/2.webp").write_bytes(b"")
    (tmp_path / "a/.DS_Store").write_bytes(b"")
    with caplog.at_level(logging.WARNING, logger="trainer"):
        assert len(loaded(tmp_path)) == 2
    assert "1 other files are not read: a/2.webp" in caplog.text


def test_images_of_different_sizes_are_refused_with_both_sizes(tmp_path: Path) -> None:
    put(tmp_path, "a/1.png")
    put(tmp_path, "b/1.png", size=(4, 2))
    with pytest.raises(DataError, match=r"b/1\.png: 4 x 2 pixels, but a/1\.png has 3 x 2: all must be of one size"):
        loaded(tmp_path)


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["1.png", "a/1.png"], r"1\.png: lies in no folder"),
        (["a/1.png", "b/c/1.png"], r"different folders, \./, b/"),
        (["train/a/1.png", "test/a/1.png"], "different folders, test/, train/"),
        (["a/1.png", "a/2.png"], "a/: is the only folder"),
    ],
)
def test_folders_that_are_no_classes_are_refused(tmp_path: Path, names: list[str], reason: str) -> None:
    for name in names:
        put(tmp_path, name)
    with pytest.raises(DataError, match=reason):
        loaded(tmp_path)


def gif() -> bytes:
    data = io.BytesIO()
    Image.new("L", (3, 2)).save(data, "GIF")
    return data.getvalue()


@pytest.mark.parametrize("data", [b"", b"nonsense", gif()], ids=["empty", "text", "gif"])
def test_what_is_no_png_or_jpeg_is_named(tmp_path: Path, data: bytes) -> None:
    put(tmp_path, "a/1.png")
    put(tmp_path, "b/2.png")
    (tmp_path / "b/2.png").write_bytes(data)
    with pytest.raises(DataError, match=r"b/2\.png: cannot be read as PNG or JPEG"):
        loaded(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_an_image_that_was_cut_off_is_named(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    (tmp_path / "a").mkdir()
    file = tmp_path / f"a/1.{suffix}"
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[:-1500])
    with pytest.raises(DataError, match=rf"a/1\.{suffix}: cannot be read as PNG or JPEG"):
        loaded(tmp_path)


def test_pixels_of_sixteen_bits_are_refused_as_they_would_be_cut(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((2, 3), 60_000, dtype=np.uint16)).save(tmp_path / "a/1.png")
    with pytest.raises(DataError, match=r"a/1\.png: pixels of kind I;16, expected one of"):
        loaded(tmp_path)


def test_images_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "a/1.png")
    put(tmp_path, "b/1.png")
    monkeypatch.setattr(files_images, "MOST_VALUES", 20)
    with pytest.raises(DataError, match=r"b/1\.png: with the images before it more than 20 values"):
        loaded(tmp_path)
    monkeypatch.setattr(files_images, "MOST_PIXELS", 5)
    with pytest.raises(DataError, match=r"a/1\.png: 3 x 2 pixels, at most 5"):
        loaded(tmp_path)


def test_a_zip_that_would_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/1.png", bytes(1000))
    monkeypatch.setattr(files_images, "MOST_BYTES", 999)
    with pytest.raises(DataError, match=r"images\.zip: holds more than .* 999 bytes"):
        loaded(tmp_path / "images.zip")


@pytest.mark.parametrize("members", [None, {"readme.txt": b"none"}])
def test_what_is_no_zip_of_images_is_named(tmp_path: Path, members: dict[str, bytes] | None) -> None:
    file = tmp_path / "images.zip"
    if members is None:
        file.write_bytes(b"nonsense")
    else:
        with zipfile.ZipFile(file, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
    with pytest.raises(DataError, match=r"images\.zip: (cannot be read as a zip|holds no image)"):
        loaded(file)

"""Reading and repairing the index files of buildah's overlay store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dev.images.layers import LayerStore


@pytest.fixture
def store(tmp_path: Path) -> LayerStore:
    """base <- torch <- code (named), base <- old (unnamed image), base <- lost (no image at all)."""
    layers = [
        {"id": "base", "diff-digest": "sha256:b"},
        {"id": "torch", "parent": "base", "diff-digest": "sha256:t"},
        {"id": "code", "parent": "torch", "diff-digest": "sha256:c"},
        {"id": "old", "parent": "base", "diff-digest": "sha256:o"},
        {"id": "lost", "parent": "base", "diff-digest": "sha256:l"},
    ]
    images = [
        {"id": "now", "names": ["docker.io/trainyard/trainer:dev"], "layer": "code"},
        {"id": "step", "layer": "torch"},
        {"id": "before", "layer": "old"},
        {"id": "empty"},
    ]
    (tmp_path / "overlay/l").mkdir(parents=True)
    for layer in layers:
        (tmp_path / "overlay" / layer["id"] / "diff").mkdir(parents=True)
        (tmp_path / "overlay" / layer["id"] / "link").write_text(f"L{layer['id']}")
        (tmp_path / "overlay/l" / f"L{layer['id']}").symlink_to(f"../{layer['id']}/diff")
    (tmp_path / "overlay-layers").mkdir()
    (tmp_path / "overlay-layers/layers.json").write_text(json.dumps(layers))
    (tmp_path / "overlay-layers/lost.tar-split.gz").write_bytes(b"x")
    (tmp_path / "overlay-images").mkdir()
    (tmp_path / "overlay-images/images.json").write_text(json.dumps(images))
    return LayerStore(tmp_path)


def test_a_chain_starts_with_the_lowest_layer(store: LayerStore) -> None:
    assert [digest for digest, _ in store.chain("now")] == ["sha256:b", "sha256:t", "sha256:c"]
    assert all(folder.is_dir() for _, folder in store.chain("now"))


def test_steps_below_a_named_image_are_kept_and_older_builds_are_not(store: LayerStore) -> None:
    assert store.unused_images() == ["before", "empty"]


def test_a_layer_without_an_image_is_removed_with_all_its_files(store: LayerStore) -> None:
    store.remove_orphans()
    assert not (store.folder / "overlay/lost").exists()
    assert not (store.folder / "overlay/l/Llost").is_symlink()
    assert not (store.folder / "overlay-layers/lost.tar-split.gz").exists()
    left = json.loads((store.folder / "overlay-layers/layers.json").read_text())
    assert [layer["id"] for layer in left] == ["base", "torch", "code", "old"]


def test_a_store_without_orphans_is_not_written(store: LayerStore) -> None:
    store.remove_orphans()
    index = store.folder / "overlay-layers/layers.json"
    before = index.stat().st_mtime_ns
    store.remove_orphans()
    assert index.stat().st_mtime_ns == before


def test_a_store_that_is_not_there_yet_has_nothing_to_remove(tmp_path: Path) -> None:
    empty = LayerStore(tmp_path / "none")
    empty.remove_orphans()
    assert empty.unused_images() == []

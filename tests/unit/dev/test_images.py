"""The image builder's pure parts, and what the Dockerfiles and lock files promise each other."""

from __future__ import annotations

import io
import json
import re
import tarfile
import tomllib
from pathlib import Path

import pytest

from dev import lock
from dev.images.buildah import BuiltImage, Layer, chain_id
from dev.images.containerd import own_folder
from dev.images.errors import StoreError
from dev.images.sources import IMAGES, copied_paths, dockerfile, reference, source_digest, store_key
from dev.images.store import archive, clone
from dev.packages import PackageError, missing

ROOT = Path(__file__).resolve().parents[3]
LOCK_FILES = sorted((ROOT / "locks").glob("*.txt"))


def instructions(name: str) -> list[str]:
    """The instructions of an image's Dockerfile, without comments, one line each."""
    text = dockerfile(name, ROOT).read_text().replace("\\\n", " ")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout with one image that copies a file and a folder."""
    (tmp_path / "images/one").mkdir(parents=True)
    (tmp_path / "images/one/Dockerfile").write_text("FROM base\nCOPY locks/one.txt /locks/\nCOPY code /app\n")
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks/one.txt").write_text("a==1\n")
    (tmp_path / "code/deep").mkdir(parents=True)
    (tmp_path / "code/deep/a.py").write_text("A = 1\n")
    return tmp_path


class TestSourceDigest:
    def test_same_sources_have_the_same_digest(self, checkout: Path) -> None:
        assert source_digest("one", checkout, "base") == source_digest("one", checkout, "base")

    @pytest.mark.parametrize("path", ["images/one/Dockerfile", "locks/one.txt", "code/deep/a.py"])
    def test_a_changed_file_changes_it(self, checkout: Path, path: str) -> None:
        before = source_digest("one", checkout, "base")
        file = checkout / path
        file.write_text(file.read_text() + "# more\n")
        assert source_digest("one", checkout, "base") != before

    def test_a_moved_file_changes_it(self, checkout: Path) -> None:
        before = source_digest("one", checkout, "base")
        (checkout / "code/deep/a.py").rename(checkout / "code/deep/b.py")
        assert source_digest("one", checkout, "base") != before

    def test_another_base_changes_it(self, checkout: Path) -> None:
        assert source_digest("one", checkout, "base") != source_digest("one", checkout, "newer")

    def test_compiled_python_is_no_source(self, checkout: Path) -> None:
        before = source_digest("one", checkout, "base")
        (checkout / "code/__pycache__").mkdir()
        (checkout / "code/__pycache__/a.cpython-311.pyc").write_bytes(b"x")
        assert source_digest("one", checkout, "base") == before

    def test_a_file_that_is_not_copied_is_no_source(self, checkout: Path) -> None:
        before = source_digest("one", checkout, "base")
        (checkout / "README.md").write_text("hello")
        assert source_digest("one", checkout, "base") == before

    def test_a_copy_of_what_is_not_there_is_an_error_that_names_it(self, checkout: Path) -> None:
        (checkout / "locks/one.txt").unlink()
        with pytest.raises(FileNotFoundError, match=r"one\.txt"):
            source_digest("one", checkout, "base")


def test_copied_paths_reads_options_and_continued_lines() -> None:
    text = "FROM x\nCOPY --chown=1:1 a b /to/\ncopy c \\\n    d /to/\nRUN cp e f\n"
    assert copied_paths(text) == ["a", "b", "c", "d"]


class TestStoreKey:
    def test_does_not_depend_on_the_order_of_images(self) -> None:
        assert store_key({"a": "1", "b": "2"}) == store_key({"b": "2", "a": "1"})

    def test_changes_with_any_image(self) -> None:
        keys = {store_key({"a": "1", "b": "2"}), store_key({"a": "1", "b": "3"}), store_key({"a": "1"})}
        assert len(keys) == 3

    def test_does_not_run_names_and_ids_together(self) -> None:
        assert store_key({"ab": "c"}) != store_key({"a": "bc"})


def test_chain_id_of_one_layer_is_the_layer() -> None:
    assert chain_id(["sha256:aa"]) == "sha256:aa"


def test_chain_id_follows_the_oci_image_specification() -> None:
    lower, upper = "sha256:" + "0" * 64, "sha256:" + "1" * 64
    # ChainID(A, B) = SHA256(ChainID(A) + " " + DiffID(B)), computed by sha256sum of that line.
    assert chain_id([lower, upper]) == "sha256:f94b891e05f6e37c90d87edfd5bb98a02d618a437c35f3a94b3b00e48e894631"


def test_an_archive_holds_documents_and_no_layers() -> None:
    image = BuiltImage("docker.io/trainyard/a:dev", "id", b"{}", b"config", (Layer("d", "c", Path("/nowhere")),))
    with tarfile.open(fileobj=io.BytesIO(archive([image]))) as tar:
        names = tar.getnames()
        file = tar.extractfile("index.json")
        assert file is not None
        index = json.load(file)
    assert len([name for name in names if name.startswith("blobs/")]) == 2
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "docker.io/trainyard/a:dev"


@pytest.mark.parametrize(
    "printed",
    [
        "mount -t bind /r/snapshots/1/fs /unused -o rw,rbind\n",
        "mount -t overlay overlay /unused -o index=off,workdir=/r/snapshots/1/work,upperdir=/r/snapshots/1/fs,lowerdir=/r/2\n",
    ],
)
def test_own_folder_is_where_a_snapshot_keeps_its_files(printed: str) -> None:
    assert own_folder(printed) == Path("/r/snapshots/1/fs")


def test_another_snapshotter_is_refused_by_name_of_its_mount() -> None:
    with pytest.raises(StoreError, match="btrfs"):
        own_folder("mount -t btrfs /dev/sda /unused -o subvol=1")


class TestClone:
    @pytest.fixture
    def template(self, tmp_path: Path) -> Path:
        root = tmp_path / "template"
        for path in (
            "io.containerd.metadata.v1.bolt/meta.db",
            "io.containerd.snapshotter.v1.overlayfs/metadata.db",
            "big",
        ):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text("content")
        return root

    def test_shares_files_but_not_the_databases(self, template: Path, tmp_path: Path) -> None:
        copy = tmp_path / "nodes/one"
        clone(template, copy, print)
        assert (copy / "big").samefile(template / "big")
        for database in (
            "io.containerd.metadata.v1.bolt/meta.db",
            "io.containerd.snapshotter.v1.overlayfs/metadata.db",
        ):
            assert not (copy / database).samefile(template / database)
            assert (copy / database).read_text() == "content"

    def test_refuses_a_destination_that_is_in_use(self, template: Path, tmp_path: Path) -> None:
        (tmp_path / "one").mkdir()
        with pytest.raises(StoreError, match="exists already"):
            clone(template, tmp_path / "one", print)


class TestDockerfiles:
    def test_trainer_and_server_share_every_instruction_up_to_the_torch_layer(self) -> None:
        trainer, server = instructions("trainer"), instructions("server")
        torch = next(number for number, line in enumerate(trainer) if line.endswith("install.sh torch"))
        assert trainer[: torch + 1] == server[: torch + 1]

    @pytest.mark.parametrize("name", IMAGES)
    def test_code_comes_last_so_that_a_change_of_it_builds_nothing_else(self, name: str) -> None:
        lines = instructions(name)
        first = next(number for number, line in enumerate(lines) if line.startswith("COPY") and " /app/" in line)
        *copies, compiled, user = lines[first:]
        assert all(line.startswith("COPY") and " /app/" in line for line in copies)
        # A pod's root is read-only, so each of its processes would compile the code again.
        assert compiled == "RUN python -m compileall -q /app"
        assert user.startswith("USER ")

    @pytest.mark.parametrize("name", IMAGES)
    def test_runs_as_a_user_without_rights_by_number(self, name: str) -> None:
        assert [line for line in instructions(name) if line.startswith("USER")] == ["USER 65532:65532"]

    @pytest.mark.parametrize("name", IMAGES)
    def test_says_what_it_is(self, name: str) -> None:
        labels = next(line for line in instructions(name) if line.startswith("LABEL"))
        for label in ("title", "description", "licenses", "version"):
            assert f"org.opencontainers.image.{label}=" in labels
        assert f'title="trainyard/{name}"' in labels

    @pytest.mark.parametrize("name", IMAGES)
    def test_names_files_that_are_there_and_sent_to_the_builder(self, name: str) -> None:
        allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        for path in copied_paths(dockerfile(name, ROOT).read_text()):
            assert (ROOT / path).exists()
            assert any(Path(path).match(pattern) for pattern in allowed), path

    def test_a_reference_is_complete_so_that_no_registry_is_guessed(self) -> None:
        assert reference("trainer") == "docker.io/trainyard/trainer:dev"


class TestLocks:
    @pytest.mark.parametrize("path", LOCK_FILES, ids=lambda path: path.name)
    def test_pins_a_hash_for_every_requirement_and_names_no_index(self, path: Path) -> None:
        text = path.read_text()
        assert "://" not in text
        assert not re.search(r"^\s*(-i|-f|--(index-url|extra-index-url|find-links|trusted-host))\b", text, re.MULTILINE)
        requirements = [part for part in re.split(r"\n(?=\S)", text.strip()) if not part.startswith("#")]
        assert requirements
        for requirement in requirements:
            assert re.match(r"[A-Za-z0-9._-]+(\[[^]]*])?==\S+ \\\n +--hash=sha256:[0-9a-f]{64}", requirement), (
                requirement
            )

    def test_images_hold_the_versions_that_the_development_environment_tests(self) -> None:
        tested = dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "locks/dev.txt").read_text(), re.MULTILINE))
        for path in LOCK_FILES:
            if path.stem in lock.APART:  # of no image
                continue
            for name, version in re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE):
                assert tested.get(name) == version, f"{path.name}: {name}"

    def test_torch_and_what_it_shares_are_locked_once(self) -> None:
        extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        plans = {made.name: made.requirements for made in lock.plan(lock.read_project(), lock.read_inputs())}
        assert any(requirement.startswith("torch") for requirement in plans["torch"])
        assert set(plans["trainer"]) | set(plans["torch"]) == set(extras["trainer"])
        assert set(plans["server"]) | set(plans["torch"]) == set(extras["server"])

    def test_extras_that_do_not_share_torch_are_refused(self) -> None:
        with pytest.raises(ValueError, match="torch"):
            lock.plan({"": [], "trainer": ["torch>=2"], "server": ["torch>=3"]}, {})


def test_a_package_name_that_apt_could_read_as_an_option_is_refused() -> None:
    with pytest.raises(PackageError, match="--reinstall"):
        missing(["--reinstall"])

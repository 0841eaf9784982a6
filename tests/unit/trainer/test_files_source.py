"""Finding and reading files: their order, their bounds, their checksums, and which failures are final."""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from trainer.datasets import files_source
from trainer.datasets.file_parameters import parse
from trainer.datasets.files import load
from trainer.datasets.files_checksums import checksums_for
from trainer.datasets.files_source import Content, FileSource
from trainer.errors import ConfigurationError, DataError, ExitCode, TrainerError

CSV = {".csv"}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two files of data among others."""
    place = tmp_path / "data"
    (place / "old").mkdir(parents=True)
    for name in ("part-2.csv", "part-10.csv", "notes.txt", ".part-0.csv", "old/part-1.csv"):
        (place / name).write_text(name)
    return place


def names(url: str, *, deep: bool = False) -> list[str]:
    return [file.name for file in FileSource(url).find(CSV, deep=deep)]


def test_a_folders_files_come_in_the_order_of_their_names_without_hidden_and_other_ones(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="trainer"):
        assert names(str(folder)) == names(f"file://{folder}/") == ["part-10.csv", "part-2.csv"]
    assert "1 other files are not read: notes.txt" in caplog.text


def test_files_below_a_folder_are_found_when_they_are_asked_for(folder: Path) -> None:
    assert names(str(folder), deep=True) == ["old/part-1.csv", "part-10.csv", "part-2.csv"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("part-*.csv", ["part-10.csv", "part-2.csv"]),
        ("part-?.csv", ["part-2.csv"]),
        ("*/part-[12].csv", ["old/part-1.csv"]),
        ("not*", ["notes.txt"]),
    ],
)
def test_a_pattern_finds_files_and_names_them_below_its_fixed_part(
    folder: Path, pattern: str, found: list[str]
) -> None:
    assert names(f"{folder}/{pattern}") == found


def test_what_is_found_is_what_is_read(folder: Path) -> None:
    for url in (f"{folder}/part-2.csv", f"file://{folder}/./part-2.csv", f"{folder}/part-2*"):
        source = FileSource(url)
        assert source.read(source.find(CSV)[0]) == Content("part-2.csv", b"part-2.csv")


def test_a_link_to_a_file_is_read_as_a_mounted_configuration_needs_it(tmp_path: Path, folder: Path) -> None:
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "a.csv").symlink_to(folder / "part-2.csv")
    source = FileSource(str(mounted))
    assert source.read(source.find(CSV)[0]) == Content("a.csv", b"part-2.csv")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.csv", "absent.csv: the file is not there"),
        ("absent-*.csv", "there is no file$"),
        ("old", r"there is no file that ends in \.parquet"),
    ],
)
def test_no_file_is_an_error_that_says_where(folder: Path, name: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        FileSource(f"{folder}/{name}").find({".parquet"})


def test_too_many_files_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_source, "MOST_FILES", 1)
    with pytest.raises(DataError, match="there are 2 files, more than 1"):
        names(str(folder))


def test_a_file_that_is_too_large_is_refused_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_source, "MOST_FILE_BYTES", 10)
    source = FileSource(str(folder))
    large, small = source.find(CSV)
    source.read(small)
    with pytest.raises(DataError, match=r"part-10\.csv: larger than 10 bytes"):
        source.read(large)


def test_files_that_are_too_large_together_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files_source, "MOST_BYTES", 15)
    source = FileSource(str(folder))
    first, second = source.find(CSV)
    source.read(first)
    with pytest.raises(DataError, match=r"part-2\.csv: with the files before it larger than 15 bytes"):
        source.read(second)


@pytest.mark.parametrize(
    ("error", "final"), [(PermissionError("x"), True), (OSError("disk"), False), (RuntimeError(), False)]
)
def test_only_what_can_never_work_is_final(
    folder: Path, error: Exception, final: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = FileSource(str(folder))
    file = source.find(CSV)[0]

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(source._files, "open", fail)
    with pytest.raises(TrainerError, match=r"part-10\.csv: ") as caught:
        source.read(file)
    assert caught.value.exit_code is (ExitCode.DATA if final else ExitCode.FAILURE)


def checked(texts: dict[str, str], **how: Any) -> list[bytes]:
    """What passes the checks of the files with these texts."""
    wanted = parse({"url": "/data", "format": "csv", "target": "y"} | how)
    checksums = checksums_for(wanted, list(texts))
    return [checksums.verified(Content(name, text.encode())).data for name, text in texts.items()]


def test_files_with_the_expected_checksums_pass_in_capitals_or_not() -> None:
    assert checked({"a": "1", "b": "2"}, sha256={"a": digest("1").upper(), "b": digest("2")}) == [b"1", b"2"]
    assert checked({"a": "1"}, sha256=digest("1")) == [b"1"]


@pytest.mark.fault(84)
def test_a_wrong_checksum_names_the_file_what_was_expected_and_what_was_found() -> None:
    with pytest.raises(DataError, match=f"^b: the SHA-256 is {digest('3')}, expected {digest('2')}"):
        checked({"a": "1", "b": "3"}, sha256={"a": digest("1"), "b": digest("2")})


def test_a_file_without_a_checksum_is_refused() -> None:
    with pytest.raises(DataError, match=r"b: no checksum in dataset\.parameters\.sha256, which has: a"):
        checked({"a": "1", "b": "2"}, sha256={"a": digest("1")})


def test_a_checksum_without_a_file_is_refused() -> None:
    with pytest.raises(DataError, match="b: has a checksum but is not there; there is: a"):
        checked({"a": "1"}, sha256={"a": digest("1"), "b": digest("2")})


def test_one_checksum_for_several_files_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="one checksum for each of the 2 files"):
        checked({"a": "1", "b": "2"}, sha256=digest("1"))


def test_a_manifest_is_read_as_sha256sum_writes_it_and_may_cover_more(tmp_path: Path) -> None:
    manifest = tmp_path / "SHA256SUMS"
    manifest.write_text(f"{digest('1')}  ./a\n\n{digest('2')} *b c\n{digest('3')}  README\n")
    assert checked({"a": "1", "b c": "2"}, manifest=str(manifest)) == [b"1", b"2"]
    with pytest.raises(DataError, match="b c: the SHA-256 is"):
        checked({"a": "1", "b c": "1"}, manifest=str(manifest))
    with pytest.raises(DataError, match=f"d: no checksum in {manifest}"):
        checked({"d": "1"}, manifest=str(manifest))


def test_a_manifest_that_is_none_names_its_line(tmp_path: Path) -> None:
    manifest = tmp_path / "SHA256SUMS"
    manifest.write_text(f"{digest('1')}  a\nnot a digest\n")
    with pytest.raises(DataError, match="SHA256SUMS: line 2 is not"):
        checked({"a": "1"}, manifest=str(manifest))
    with pytest.raises(DataError, match="the file is a folder"):
        checked({"a": "1"}, manifest=str(tmp_path))


@dataclass
class WebServer:
    """A web server on 127.0.0.1 that gives one body with one status, and counts what it is asked."""

    body: bytes
    status: int = 200
    asked: list[str] = field(default_factory=list)
    address: str = ""


@pytest.fixture
def web() -> Iterator[WebServer]:
    server = WebServer(b"a,y\n1,no\n2,yes\n3,no\n")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.asked.append(f"GET {self.path}")
            self.send_response(server.status, "as told")
            self.send_header("Content-Length", str(len(server.body)))
            self.end_headers()
            self.wfile.write(server.body)

        def do_HEAD(self) -> None:
            server.asked.append(f"HEAD {self.path}")
            self.send_error(403)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = Thread(target=listening.serve_forever)
        thread.start()
        server.address = f"http://127.0.0.1:{listening.server_port}"
        yield server
        listening.shutdown()
        thread.join()


def test_a_signed_address_is_read_with_one_request(web: WebServer) -> None:
    url = f"{web.address}/data/a%20b.csv?signature=s"
    data = load({"url": url, "format": "csv", "target": "y", "sha256": {"a b.csv": digest(web.body.decode())}})
    assert data.inputs.tolist() == [[1], [2], [3]]
    assert web.asked == ["GET /data/a%20b.csv?signature=s"]


@pytest.mark.parametrize(("status", "final"), [(404, True), (403, True), (410, True), (429, False), (503, False)])
def test_a_servers_refusal_is_final_and_its_trouble_is_not(web: WebServer, status: int, final: bool) -> None:
    web.status = status
    with pytest.raises(TrainerError, match=r"^a\.csv: ") as caught:
        load({"url": f"{web.address}/a.csv?signature=secret", "format": "csv", "target": "y"})
    assert caught.value.exit_code is (ExitCode.DATA if final else ExitCode.FAILURE)
    assert "secret" not in str(caught.value)


def test_a_signature_in_a_failures_own_text_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    source = FileSource("https://host/a.csv?signature=secret")

    def fail(url: str, _: str) -> None:
        raise ValueError(url)

    monkeypatch.setattr(source._files, "open", fail)
    with pytest.raises(TrainerError, match=r"^a\.csv: cannot be read now \(ValueError\)"):
        source.read(source.only())


def test_a_server_that_is_down_may_be_tried_again(web: WebServer) -> None:
    down = web.address.replace("127.0.0.1", "127.0.0.2")
    with pytest.raises(TrainerError, match=r"a\.csv: cannot be read now .*starting again may help") as caught:
        load({"url": f"{down}/a.csv", "format": "csv", "target": "y"})
    assert caught.value.exit_code is ExitCode.FAILURE

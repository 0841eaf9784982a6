"""A queue and its jobs are deleted and come back: the commands, the CRDs' statuses, dry runs and access reviews are real."""

import time
from pathlib import Path

import pytest

from tests import builders as b
from tests.apiserver.yard import Yard, completes_after
from trainyard.cli.__main__ import main
from trainyard.cli.backup.document import Backup, packed, read

pytestmark = pytest.mark.apiserver
WAITING = ("zebra", "apple")


def test_what_was_deleted_comes_back_in_the_same_order(
    yard: Yard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    yard.job("ended", completes_after("1s"))
    yard.until_phase("ended", "Complete", 60)
    yard.job("runs", b.workers(2), b.gpus(8))
    yard.until_phase("runs", "Running", 60)
    for name in WAITING:
        yard.job(name, b.workers(4), b.gpus(8))
        yard.waits(name, "WaitingForQuota")
        time.sleep(1.1)  # creation times are whole seconds
    yard.until(lambda: positions(yard) == [1, 2], 60)
    run(yard, "backup", "-o", str(tmp_path / "all"))
    only_of(yard, tmp_path)
    assert "not in it" not in capsys.readouterr().out

    for name in ("ended", "runs", *WAITING):
        yard.delete("TrainingJob", name)
    yard.delete("Queue", yard.queue)
    yard.until(lambda: not yard.items("TrainingJob") and not yard.items("Pod"), 60)
    run(yard, "restore", str(tmp_path / "mine"), "--dry-run")
    assert "nothing was done" in capsys.readouterr().out
    assert yard.items("TrainingJob") == []
    run(yard, "restore", str(tmp_path / "mine"))

    assert "restored: 5 objects" in capsys.readouterr().out
    yard.until_phase("runs", "Running", 60)
    yard.until(lambda: positions(yard) == [1, 2], 60)
    assert yard.phase("ended") == "Complete"
    assert not yard.pods("ended")
    run(yard, "restore", str(tmp_path / "mine"))
    assert "restored: 0 objects" in capsys.readouterr().out


def positions(yard: Yard) -> list[int | None]:
    return [yard.status(name).get("queuePosition") for name in WAITING]


def run(yard: Yard, *words: str) -> None:
    assert main([*words, "--kubeconfig", str(yard.cluster.kubeconfig)]) == 0


def only_of(yard: Yard, folder: Path) -> None:
    """The other tests' yards are left alone."""
    found = read(folder / "all")
    mine = tuple(each for each in found.saved if {yard.namespace, yard.queue} & {*each.key})
    (folder / "mine").write_bytes(packed(Backup(found.taken, mine, {}, found.cluster)))

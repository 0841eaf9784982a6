"""The audit trail of a real operator whose audit file hangs: it leads on, and the file tells of everything afterwards."""

import os
import threading
from pathlib import Path

import pytest

from dev.cluster import Cluster
from dev.operator_process import OperatorProcess
from tests.apiserver.operator_process import SYSTEM, operator_process
from tests.apiserver.yard import Yard, completes_after
from trainyard.runtime.audit_chain import verify

pytestmark = pytest.mark.apiserver

TAKEOVER = 40


class Read(threading.Thread):
    """What a pipe is given, until its writer closes it."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path, self.text = path, b""

    def run(self) -> None:
        file = os.open(self.path, os.O_RDWR)  # for writing, too: it does not end when a writer closes it
        while True:
            self.text += os.read(file, 65536)


def renewed(cluster: Cluster) -> str:
    path = "jsonpath={.spec.holderIdentity} {.spec.renewTime}"
    return cluster.kubectl("get", "lease", "trainyard-operator", "-n", SYSTEM, "-o", path)


def test_a_leader_whose_audit_file_hangs_admits_and_keeps_its_lease(
    yard: Yard, installed: Cluster, account: Path, operator: OperatorProcess, tmp_path: Path
) -> None:
    pipe = tmp_path / "audit.log"
    os.mkfifo(pipe)  # opening it blocks until somebody reads
    operator.stop()
    try:
        with operator_process(installed, account, tmp_path, "hung", audit_file=str(pipe)) as hung:
            yard.job("meanwhile", completes_after("0s"))
            yard.until_phase("meanwhile", "Complete")
            before = renewed(installed)
            yard.until(lambda: renewed(installed) != before)
            assert renewed(installed).startswith("hung ")
            reader = Read(pipe)
            reader.start()
            yard.until(lambda: b"meanwhile" in reader.text)
            hung.stop()
            yard.until(lambda: b'"Ended"' in reader.text)
    finally:
        operator.start()
        operator.wait_ready(TAKEOVER)
    verdict = verify(reader.text.splitlines())
    assert (verdict.broken, [why for _, why in verdict.gaps]) == (None, ["there is no earlier record"])

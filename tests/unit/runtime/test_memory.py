"""What glibc keeps of memory that is free again. In a process of its own, since it cannot be undone."""

import subprocess
import sys

import pytest

PROGRAM = """
import sys, threading
from pathlib import Path
from trainyard.runtime.memory import give_back, share_heap

if sys.argv[1] == "lean":
    share_heap()

def work() -> None:
    kept = [bytearray(2000) for _ in range(30_000)]
    del kept[:-1]  # what lies below the last is free, and cannot be cut off at the end
    stays.append(kept)

def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

stays, before = [], resident()
for _ in range(4):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
if sys.argv[1] == "lean":
    give_back()
print(resident() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_what_threads_used_once_goes_back_to_the_machine() -> None:
    def left(how: str) -> int:
        done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert left("lean") < 20_000_000 < left("plain"), "each thread used 60 MB"

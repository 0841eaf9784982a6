"""Files of other jobs on a shared claim: which count, what real programs under the real agent are seen to do, and that nothing of it hurts."""

import json
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from trainer import environment as env
from trainer.environment import read_environment
from trainer.fencing import ATTEMPT_FILE
from trainer.strays.grounds import PARENT, grounds_of, hooked
from trainer.strays.hook import sitecustomize as hook
from trainer.strays.telling import Strays, parse_notes

from tests.unit.trainer.gang import specification
from tests.unit.trainer.listening import Operator

SOURCES = Path(__file__).parents[3] / "images" / "trainer"
MINE, OTHERS = "mine-0a1b2c3d", "others-99aabbcc"


@dataclass(frozen=True)
class Claim:
    """One that two jobs share, with data of nobody, and links that lead from one to the other."""

    root: Path

    @property
    def mine(self) -> Path:
        return self.root / MINE

    @property
    def others(self) -> Path:
        return self.root / OTHERS

    def ran(self, script: str, *arguments: str, hooked_by: str | None = None, **variables: str) -> tuple[int, str]:
        """A Python process as the agent would start it; exit code and output. hooked_by: other grounds than the job's."""
        environment = read_environment({"TRAINYARD_DIR": str(self.mine)})
        grounds = grounds_of(environment, arguments, {})
        assert grounds is not None
        told = hooked({"PYTHONPATH": str(SOURCES)}, grounds, self.notes)
        if hooked_by is not None:
            told[env.GROUNDS] = hooked_by
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), *arguments],
            env={"PATH": os.environ["PATH"], **told, **variables},
            cwd=self.root.parent,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def notes(self) -> Path:
        return self.root.parent / "notes"

    def strays(self) -> Strays:
        return parse_notes(self.notes.read_bytes(), [self.root])


@pytest.fixture
def claim(tmp_path: Path) -> Claim:
    root = tmp_path / "claim"
    for folder in (root / MINE / "logs", root / OTHERS / "export", root / "images"):
        folder.mkdir(parents=True)
    for job in (MINE, OTHERS):
        (root / job / ATTEMPT_FILE).write_text("1\n")
    for file in (
        root / MINE / "own",
        root / OTHERS / "export" / "weights",
        root / OTHERS / "log",
        root / "images" / "1",
    ):
        file.write_text("content")
    (root / MINE / "link").symlink_to(root / OTHERS / "log")
    (root / MINE / "folder").symlink_to(root / OTHERS / "export")
    (tmp_path / "elsewhere").write_text("")
    return Claim(root)


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("mine-0a1b2c3d/own", None),
        ("mine-0a1b2c3d/logs/new", None),
        ("images/1", None),
        ("images", None),
        (".", None),
        ("../elsewhere", None),
        ("nothing/there", None),
        ("others-99aabbcc/export/weights", None),  # named
        ("others-99aabbcc/export", None),
        ("others-99aabbcc", "others-99aabbcc"),
        ("others-99aabbcc/log", "others-99aabbcc/log"),
        ("others-99aabbcc/new", "others-99aabbcc/new"),
        ("others-99aabbcc/exported", "others-99aabbcc/exported"),
        ("mine-0a1b2c3d/link", "others-99aabbcc/log"),
        ("mine-0a1b2c3d/folder/weights", None),
        ("mine-0a1b2c3d/../others-99aabbcc/log", "others-99aabbcc/log"),
        ("mine-0a1b2c3d/logs/../../others-99aabbcc/.", "others-99aabbcc"),
        ("images/../others-99aabbcc/", "others-99aabbcc"),
    ],
)
@pytest.mark.parametrize("relative", [False, True])
def test_which_paths_are_of_another_job(
    claim: Claim, path: str, found: str | None, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = f"{claim.others}/export"
    stray = hook.judge(hook.Grounds(f"notes\n{MINE}\n{claim.root}\n{PARENT}\n\n{named}"))
    monkeypatch.chdir(claim.root)
    expected = None if found is None else f"{claim.root}/{found}"
    for _ in range(2):  # what is remembered changes nothing
        assert stray(path if relative else f"{claim.root}/{path}") == expected


def test_a_folder_becomes_a_jobs_when_the_job_begins(claim: Claim, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    stray = hook.judge(hook.Grounds(f"notes\n{MINE}\n{claim.root}"))
    file = f"{claim.root}/late-01234567/log"
    assert stray(file) is None
    (claim.root / "late-01234567").mkdir()
    (claim.root / "late-01234567" / ATTEMPT_FILE).write_text("1\n")
    now[0] += hook.LOOK_AGAIN_SECONDS
    assert stray(file) == file


S = "/trainyard/storage"


@pytest.mark.parametrize(
    ("spec", "command", "variables", "named"),
    [
        ({}, [], {}, []),
        ({"dataset": {"name": "files", "url": f"file://{S}/a-1/export/x.csv"}}, [], {}, [f"{S}/a-1/export/x.csv"]),
        ({"dataset": {"parameters": {"url": f"{S}/a-1/*/x.csv"}}}, [], {}, [f"{S}/a-1"]),
        ({"dataset": {"url": f"{S}/my data/*.csv"}}, [], {}, [f"{S}/my", f"{S}/my data"]),
        ({"compression": {"parent": {"path": f"{PARENT}/a-1/export/2"}}}, [], {}, [f"{PARENT}/a-1/export/2"]),
        ({}, ["python", "tune.py", f"--from={S}/a-1/export"], {}, [f"{S}/a-1/export"]),
        ({}, ["sh", "-c", f"cat '{S}/a-1/x' {S}/b-2/;true"], {}, [f"{S}/a-1/x", f"{S}/b-2"]),
        ({}, [f"{S}/mine/../a-1"], {}, [f"{S}/a-1"]),
        ({}, [], {"FROM": f"{S}/a-1:{S}/b-2/y"}, [f"{S}/a-1", f"{S}/b-2/y"]),
        ({}, [], {"ALL": f"{S}/*/export"}, [S]),
        # The claim itself is where everything is, and names nobody's files.
        ({}, [f"--data-root={S}", f"{S}/"], {"TRAINYARD_DIR": f"{S}/mine"}, [f"{S}/mine"]),
        ({}, ["/trainyard/storage2/a-1", f"{S}-a"], {}, []),
    ],
)
def test_what_a_manifest_names(
    spec: dict[str, Any], command: list[str], variables: dict[str, str], named: list[str]
) -> None:
    environment = read_environment({"TRAINYARD_DIR": f"{S}/mine", "TRAINYARD_SPEC": json.dumps(spec)})
    grounds = grounds_of(environment, command, variables)
    assert grounds is not None
    assert (grounds.own, grounds.named) == ("mine", tuple(named))
    read = hook.Grounds(grounds.text(Path("/tmp/notes")))
    assert (read.notes, read.own, read.roots) == ("/tmp/notes", "mine", [S, str(PARENT)])
    assert read.named == named


def test_a_job_without_storage_has_no_grounds_and_one_without_a_specification_has() -> None:
    assert grounds_of(read_environment({}), [], {}) is None
    assert grounds_of(read_environment({"TRAINYARD_DIR": S, "TRAINYARD_SPEC": "nonsense"}), [], {}) is not None


def test_hook_and_agent_mean_the_same_variable_and_the_same_mark_of_a_jobs_folder() -> None:
    assert (hook.GROUNDS, hook.OWNER_FILE) == (env.GROUNDS, ATTEMPT_FILE)


TOUCHES = {
    "opens": "open(other).close()",
    "opens with a descriptor": "os.close(os.open(other, os.O_RDONLY))",
    "opens a path in bytes": "open(os.fsencode(other)).close()",
    "opens a Path": "pathlib.Path(other).read_bytes()",
    "tries to open what is not there": "with contextlib.suppress(OSError): open(other + '-2')",
    "writes": "open(other, 'a').close()",
    "removes": "os.remove(other)",
    "moves away": "os.rename(other, own)",
    "overwrites": "os.rename(own, other)",
    "truncates": "os.truncate(other, 0)",
    "lists the folder": "os.listdir(os.path.dirname(other))",
    "goes there and lists": "os.chdir(os.path.dirname(other)); os.listdir()",
    "walks": "list(os.walk(os.path.dirname(other)))",
    "makes a folder": "os.mkdir(other + '-new')",
    "in a child": "os.fork() or open(other)",
    "in a process of its own": "subprocess.run([sys.executable, '-c', 'open(__import__(\"sys\").argv[1])', other], check=True)",
    "by multiprocessing": "multiprocessing.get_context('fork').Pool(1).map(len, [pathlib.Path(other).read_bytes()])",
}


@pytest.mark.parametrize("touch", TOUCHES.values(), ids=TOUCHES)
def test_a_process_that_touches_a_file_of_another_job_is_noticed(claim: Claim, touch: str) -> None:
    script = f"""
        import contextlib, multiprocessing, os, pathlib, subprocess, sys
        own, other = {str(claim.mine / "own")!r}, {str(claim.others / "log")!r}
        {touch}
    """
    code, output = claim.ran(script)
    assert code == 0, output
    strays = claim.strays()
    assert strays.times >= 1
    assert strays.paths[0].startswith(OTHERS)


def test_a_process_that_keeps_to_its_own_is_left_alone_and_so_is_one_that_names_what_it_reads(claim: Claim) -> None:
    script = f"""
        import os, sys, json, tempfile
        os.listdir({str(claim.root)!r})
        open({str(claim.root / "images" / "1")!r}).close()
        os.rename({str(claim.mine / "own")!r}, {str(claim.mine / "moved")!r})
        open(sys.argv[1]).close()
        os.listdir(os.path.dirname(sys.argv[1]) + "/")
        tempfile.TemporaryFile().close()
        os.close(os.open("/dev/null", os.O_RDONLY))
        open(os.dup(0)).close()
    """
    code, output = claim.ran(script, str(claim.others / "export" / "weights"))
    assert code == 0, output
    # Only the file is named, not the folder that it lies in.
    assert claim.strays() == Strays(1, (f"{OTHERS}/export",))


def test_many_are_counted_few_are_named_and_a_fork_is_not_counted_twice(claim: Claim) -> None:
    script = f"""
        import os
        for number in range(100):
            for _ in range(10):
                with __import__("contextlib").suppress(OSError): open({str(claim.others)!r} + f"/file-{{number}}")
        if os.fork() == 0:
            with __import__("contextlib").suppress(OSError): open({str(claim.others)!r} + "/child")
            os._exit(0)
        os.wait()
    """
    assert claim.ran(script) == (0, "")
    strays = claim.strays()
    assert strays.times == 512 + 1, "of the first process as of its last doubling, and of its child"
    assert len(strays.paths) == hook.MOST_PATHS
    assert len(claim.notes.read_bytes().splitlines()) < 30


HOSTILE = {
    "no grounds": "",
    "half of them": "notes",
    "no roots": "notes\nmine",
    "nonsense": "\n\n\n\n",
    "notes that cannot be": "/proc/none\nmine\n/",
    "notes that are a folder": f"/tmp\nmine\n{Path('/').absolute()}",
}


@pytest.mark.parametrize("grounds", HOSTILE.values(), ids=HOSTILE)
def test_a_program_runs_whatever_the_hook_is_told(claim: Claim, grounds: str) -> None:
    script = f"open({str(claim.others / 'log')!r}).close(); print('ran')"
    assert claim.ran(script, hooked_by=grounds) == (0, "ran\n")


def test_notes_that_the_program_took_away_or_turned_into_a_link_are_left_alone(claim: Claim) -> None:
    script = f"""
        import os
        def touch(): open({str(claim.others / "log")!r}).close()
        touch(); os.remove({str(claim.notes)!r}); touch(); touch()
        os.symlink({str(claim.mine / "own")!r}, {str(claim.notes)!r})
        for _ in range(9): touch()
        try: open("a\\0b")
        except ValueError: print("as ever")
    """
    assert claim.ran(script) == (0, "as ever\n")
    assert (claim.mine / "own").read_text() == "content"


def test_a_programs_own_sitecustomize_runs_and_its_import_path_is_as_it_would_be(claim: Claim) -> None:
    own = claim.root.parent / "site"
    own.mkdir()
    (own / "sitecustomize.py").write_text("print('own')")
    script = "import sys, sitecustomize; print(sitecustomize.__file__); print([p for p in sys.path if 'strays' in p])"
    path = os.pathsep.join([str(Path(hook.__file__).parent), str(own)])
    code, output = claim.ran(script, PYTHONPATH=path)
    assert (code, output) == (0, f"own\n{own / 'sitecustomize.py'}\n[]\n")


def test_an_exception_that_comes_up_in_the_hook_and_is_none_of_its_own_reaches_the_program(claim: Claim) -> None:
    """As torchrun's, which its handler of SIGTERM raises wherever the program is."""
    script = """
        import sys
        class Stop(Exception): pass
        class Path:
            def __fspath__(self): raise Stop
        try: sys.audit("open", Path(), "r", 0)
        except Stop: print("stopped")
    """
    assert claim.ran(script) == (0, "stopped\n")


def test_what_is_opened_while_the_interpreter_ends_hurts_nobody(claim: Claim) -> None:
    script = f"""
        import atexit
        class Late:
            def __del__(self, open=open): open({str(claim.others / "log")!r}).close()
        late = Late(); late.itself = late
        keep = __import__("builtins"); keep.late = Late()
        atexit.register(lambda: open({str(claim.mine / "own")!r}).close())
    """
    assert claim.ran(script) == (0, "")


@pytest.mark.parametrize(
    ("notes", "strays"),
    [
        (b"", Strays()),
        (b"7 1 /c/a/x\n7 2 /c/a/y\n7 4 /c/a/x\n9 1 /c/a/x\n", Strays(5, ("a/x", "a/y"))),
        (b"7 1 /elsewhere\n", Strays(1, ("/elsewhere",))),
        (b"7\n7 1\n7 1 \n-7 1 x\n7 one x\n\xff\xfe\n7 1 \x1b[2Jx\n", Strays()),
        (b"7 1 /c/half", Strays(1, ("half",))),
        (b"7 1 /c/" + b"x" * 9000, Strays(1, ("x" * hook.LONGEST_PATH,))),
        (b"".join(b"7 %d /c/%d\n" % (each, each) for each in range(1, 50)), Strays(49, tuple("12345678"))),
    ],
)
def test_notes_are_read_as_far_as_they_make_sense(notes: bytes, strays: Strays) -> None:
    assert parse_notes(notes, [Path("/c")]) == strays


StartAgent = Callable[..., tuple[int, str]]


@pytest.fixture
def run_agent(claim: Claim) -> StartAgent:
    """The real agent round a program, in a job of this claim."""

    def run(*arguments: str, spec: dict[str, Any] | None = None, **variables: str) -> tuple[int, str]:
        temporary = claim.root.parent / "tmp"
        temporary.mkdir(exist_ok=True)
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(SOURCES),
            "TMPDIR": str(temporary),
            "TRAINYARD_TERMINATION_LOG": str(claim.root.parent / "termination-log"),
            "TRAINYARD_SPEC": json.dumps(spec or {}),
            "TRAINYARD_DIR": str(claim.mine),
            "TRAINYARD_JOB_UID": "u-1",
            "TRAINYARD_PROGRESS_SECONDS": "0.1",
            **variables,
        }
        command = [sys.executable, "-m", "trainer.agent", *arguments]
        done = subprocess.run(
            command, env=environment, cwd=temporary, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_program_that_reads_another_jobs_file_is_told_to_the_operator_and_goes_on(
    claim: Claim, run_agent: StartAgent, operator: Operator
) -> None:
    # What is to be opened comes by another way than the manifest.
    (claim.mine / "own").write_text(str(claim.others / "export" / "weights"))
    script = f"open(open({str(claim.mine / 'own')!r}).read()).read(); print('trained')"
    code, output = run_agent("--", sys.executable, "-c", script, **operator.variables())
    assert (code, "trained" in output) == (0, True), output
    told = operator.received[operator.routes.index("/v1/strays")]
    assert told == {"jobUid": "u-1", "attempt": 1, "times": 1, "paths": [f"{OTHERS}/export/weights"]}
    assert f"that this job does not name: {OTHERS}/export/weights" in output


def test_a_program_that_goes_on_is_told_of_at_once_and_then_of_all_at_its_end(
    claim: Claim, run_agent: StartAgent, operator: Operator
) -> None:
    (claim.mine / "own").write_text(str(claim.others))
    script = f"""
import os, time
others = open({str(claim.mine / "own")!r}).read()
for number in range(5):
    open(others + f"/new-{{number}}", "w").close()
    while not number and not os.path.exists({str(claim.root / "go-on")!r}): time.sleep(0.02)
    time.sleep(0.15)
"""

    def go_on() -> None:
        operator.wait_for(lambda report: "times" in report)
        (claim.root / "go-on").touch()

    with ThreadPoolExecutor(1) as beside:
        waited = beside.submit(go_on)
        code, output = run_agent("--", sys.executable, "-c", script, **operator.variables())
        waited.result()
    assert code == 0, output
    told = [each for each, route in zip(operator.received, operator.routes, strict=True) if route == "/v1/strays"]
    assert [each["times"] for each in told] == [1, 5]
    assert told[1]["paths"] == [f"{OTHERS}/new-{number}" for number in range(5)]


def test_an_operator_that_is_away_or_knows_nothing_of_it_holds_nobody_up(
    claim: Claim, run_agent: StartAgent, operator: Operator
) -> None:
    operator.status = 404
    (claim.mine / "own").write_text(str(claim.others / "log"))
    code, output = run_agent("--", sys.executable, "-c", "open(open('own').read())", **operator.variables())
    assert code == 1, "the program's own failure"
    script = f"open(open({str(claim.mine / 'own')!r}).read())"
    code, output = run_agent("--", sys.executable, "-c", script, **operator.variables())
    assert code == 0, output
    assert output.count("that was not told to the operator") >= 1


def test_the_built_in_program_touches_no_other_jobs_files(
    claim: Claim, run_agent: StartAgent, operator: Operator
) -> None:
    """Two workers, checkpoints, an export; then once more, which restores. Its data is another job's, and its job says so."""
    rows = "\n".join(f"{each},{each % 7},{each % 2}" for each in range(64))
    (claim.others / "export" / "data.csv").write_text(f"a,b,target\n{rows}\n")
    spec = specification("mlp", "digits", epochs=1, batchSize=256)
    spec["dataset"] = {
        "name": "files",
        "parameters": {"format": "csv", "url": f"file://{claim.others}/export/*.csv", "target": "target"},
    }
    for attempt in ("1", "2"):
        code, output = run_agent(spec=spec, PET_NPROC_PER_NODE="2", TRAINYARD_ATTEMPT=attempt, **operator.variables())
        assert code == 0, output
    assert "/v1/progress" in operator.routes
    assert "/v1/strays" not in operator.routes

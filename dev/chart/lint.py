"""checkov on rendered manifests: what it finds, and the findings of which the chart says why they stay (`linter.yaml`).

checkov needs versions of libraries that ours exclude, so it has a virtual environment of its own in the user's cache, made
from locks/checkov.txt by `python -m dev.cluster prepare`.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from dev.chart import CHART, REPOSITORY
from dev.cluster.paths import cache_folder
from dev.cluster.progress import Say

LOCK = REPOSITORY / "locks" / "checkov.txt"
EXCEPTIONS = CHART / "linter.yaml"
_TIMEOUT_SECONDS = 300


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """A check that an object does not pass. Objects are told as KIND/NAME."""

    check: str
    resource: str


def checkov() -> Path:
    """The program's place in the cache, whether it is there or not."""
    key = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:16]
    return cache_folder() / "checkov" / key / "bin" / "checkov"


def install(say: Say) -> None:
    """Make the environment if it is not there. Raises CalledProcessError with uv's words."""
    program = checkov()
    if program.exists():
        return
    say("installing checkov, which looks through the chart")
    uv = Path(sys.executable).parent / "uv"
    draft = program.parents[1].with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    run = [str(uv) if uv.exists() else "uv"]
    subprocess.run([*run, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(draft)], check=True)
    subprocess.run(
        [
            *run,
            "pip",
            "install",
            "--quiet",
            "--python",
            str(draft / "bin" / "python"),
            "--require-hashes",
            "-r",
            str(LOCK),
        ],
        check=True,
    )
    draft.rename(program.parents[1])


def findings(manifests: str) -> list[Finding]:
    """What checkov finds in these manifests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "manifests.yaml")
        path.write_text(manifests)
        done = subprocess.run(
            [str(checkov()), "-f", str(path), "--framework", "kubernetes", "--compact", "--quiet", "-o", "json"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_SECONDS,
            # It would otherwise ask its maker's server for texts about each finding.
            env={**os.environ, "BC_SKIP_MAPPING": "TRUE", "CKV_IGNORE_HIDDEN_DIRECTORIES": "True"},
        )
    try:
        told = json.loads(done.stdout)
        failed, summary = told["results"]["failed_checks"], told["summary"]
    except (ValueError, KeyError, TypeError):
        raise RuntimeError(
            f"checkov gave no report (exit code {done.returncode}): {done.stdout}{done.stderr}"
        ) from None
    if summary["parsing_errors"] or not summary["resource_count"]:
        raise RuntimeError(f"checkov could not read the manifests: {summary}")
    return sorted({Finding(each["check_id"], _resource(each["resource"])) for each in failed})


def _resource(told: str) -> str:
    """KIND.NAMESPACE.NAME, and for the pods of a Deployment all its labels behind that."""
    kind, _, name = told.split(".", 3)[:3]
    return f"{kind}/{name}"


def exceptions(file: Path = EXCEPTIONS) -> dict[Finding, str]:
    """The findings that stay, each with its reason. Raises ValueError for one without."""
    return dict(_exceptions(file))


def _exceptions(file: Path) -> Iterator[tuple[Finding, str]]:
    for each in yaml.safe_load(file.read_text())["exceptions"]:
        if not str(each.get("reason") or "").strip():
            raise ValueError(f"{file.name}: {each.get('check')} has no reason")
        for resource in each["resources"]:
            yield Finding(each["check"], resource), each["reason"]

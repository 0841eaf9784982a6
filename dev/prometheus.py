"""A real Prometheus for tests and demos: scrapes the targets it is given, answers queries, leaves nothing behind.

    with prometheus({"operator": "127.0.0.1:8080"}) as server:
        server.wait_for('up{job="operator"} == 1')
        server.query("trainyard_node_gpus")

It listens on loopback only and keeps its data in a temporary folder. Debian's package is installed when it is missing;
its service is not used.
"""

import json
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dev.packages import Progress, ensure
from dev.ports import HeldPort

_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
_ALWAYS = ("_created", "_total")
"""OpenMetrics names a counter without `_total`, Prometheus' own text with it: here it is one family."""


class PrometheusError(RuntimeError):
    """Prometheus did not start, refused a query, or never showed what was waited for."""


@dataclass(frozen=True)
class Target:
    """Where to scrape. address: HOST:PORT. certificate_authority: PEM file for https."""

    address: str
    path: str = "/metrics"
    scheme: str = "http"
    bearer_token: str = ""
    certificate_authority: Path | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Series:
    """One series and its value."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Course:
    """One series over time. values: pairs of Unix time and value."""

    labels: Mapping[str, str]
    values: tuple[tuple[float, float], ...]


class Prometheus:
    """A running server; made by `prometheus`."""

    def __init__(self, process: subprocess.Popen[bytes], port: HeldPort, log: Path) -> None:
        self._held = port
        self.url = f"http://127.0.0.1:{port}"
        self.pid = process.pid
        self._process = process
        self._log = log

    def query(self, expression: str, at: float | None = None) -> list[Series]:
        """Series of an instant query, now or at a Unix time."""
        answer = self._get("query", query=expression, **({} if at is None else {"time": str(at)}))
        if answer["resultType"] == "scalar":
            return [Series({}, float(answer["result"][1]))]
        return [Series(each["metric"], float(each["value"][1])) for each in answer["result"]]

    def course(self, expression: str, start: float, end: float, step: float) -> list[Course]:
        """Series of a range query. start, end: Unix times; step in seconds."""
        answer = self._get("query_range", query=expression, start=str(start), end=str(end), step=str(step))
        return [
            Course(each["metric"], tuple((float(at), float(value)) for at, value in each["values"]))
            for each in answer["result"]
        ]

    def value(self, expression: str) -> float | None:
        """Value of a query for one series; None when there is none. PrometheusError when there are several."""
        found = self.query(expression)
        if len(found) > 1:
            raise PrometheusError(
                f"{expression} is {len(found)} series, expected one: {[each.labels for each in found]}"
            )
        return found[0].value if found else None

    def wait_for(self, expression: str, *, timeout: float = 30.0) -> list[Series]:
        """Ask until the query has a series, and return what it found."""
        deadline = time.monotonic() + timeout
        while True:
            if found := self.query(expression):
                return found
            if time.monotonic() > deadline:
                raise PrometheusError(f"nothing for {expression} within {timeout:g} s; targets: {self.targets()}")
            time.sleep(0.1)

    def targets(self) -> dict[str, str]:
        """Address -> up, or why not, of every target."""
        active = self._get("targets", state="active")["activeTargets"]
        return {each["discoveredLabels"]["__address__"]: each["lastError"] or each["health"] for each in active}

    def families(self, prefix: str = "") -> set[str]:
        """Names of the metric families that have samples now; a histogram is one, and so is a counter."""
        names = {each.labels["__name__"] for each in self.query(f'{{__name__=~"{prefix}.*"}}')}
        types = {name: each[0]["type"] for name, each in self._get("metadata").items() if each}
        return {family_of(name, types) for name in names}

    def stop(self) -> None:
        """End the process; harmless when it has ended."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def wait_until_ready(self, timeout: float) -> None:
        """Return once queries are answered."""
        deadline = time.monotonic() + timeout
        while True:
            if self._process.poll() is not None:
                raise PrometheusError(f"Prometheus ended with {self._process.returncode}:\n{self._log_tail()}")
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2):
                    return
            except OSError:
                if time.monotonic() > deadline:
                    raise PrometheusError(f"not ready within {timeout:g} s:\n{self._log_tail()}") from None
            time.sleep(0.05)

    def _get(self, what: str, **parameters: str) -> Any:
        url = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=15) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise PrometheusError(f"{what} {parameters}: {error.code} {error.read().decode()[:500]}") from None

    def _log_tail(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-15:])


@contextmanager
def prometheus(
    targets: Mapping[str, str | Target | list[Target]],
    *,
    interval: float = 1.0,
    history: str = "",
    rules: str = "",
    progress: Progress = print,
) -> Iterator[Prometheus]:
    """A server that scrapes `targets` (by job name; a text is HOST:PORT) every `interval` seconds, until the block ends.

    history: OpenMetrics text with times, of what it knows from the beginning. rules: a rules file, evaluated as often.
    """
    if shutil.which("prometheus") is None:
        ensure("prometheus", progress=progress)
    folder = Path(tempfile.mkdtemp(prefix="trainyard-prometheus-"))
    try:
        options = _remember(folder, history) if history else ()
        server = _start(folder, configuration(targets, interval, rules=_kept(folder, rules)), *options)
        try:
            server.wait_until_ready(30)
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def family_of(name: str, types: Mapping[str, str]) -> str:
    """The family of a series. types: what the scraped pages declare, by family."""
    for kind, suffixes in _SUFFIXES.items():
        for suffix in suffixes:
            stem = name.removesuffix(suffix)
            if stem != name and types.get(stem) == kind:
                return stem
    for suffix in _ALWAYS:
        stem = name.removesuffix(suffix)
        if stem != name and name not in types:
            name = stem
    return name.removesuffix("_total") if types.get(name) == "counter" else name


def _remember(folder: Path, history: str) -> tuple[str, ...]:
    """Options with which it is read: a file cannot say that a series ended, so each ends a minute after its last value."""
    (folder / "history").write_text(history)
    argv = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet", "history", "data"]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PrometheusError(f"the history was not taken: {done.stderr[-500:]}")
    return ("--query.lookback-delta=1m",)


def _kept(folder: Path, rules: str) -> tuple[str, ...]:
    """The files of rules."""
    if not rules:
        return ()
    file = folder / "rules.yaml"
    file.write_text(rules)
    return (str(file),)


def _start(folder: Path, configured: Mapping[str, Any], *options: str) -> Prometheus:
    (folder / "prometheus.yml").write_text(json.dumps(configured))  # JSON is YAML
    port, log = HeldPort(), folder / "log"
    argv = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=100y",
        "--log.level=warn",
        *options,
    ]
    with log.open("wb") as output:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    return Prometheus(process, port, log)


def configuration(
    targets: Mapping[str, str | Target | list[Target]], interval: float, rules: Sequence[str] = ()
) -> dict[str, Any]:
    """The file that Prometheus reads. A job's targets differ in address and labels alone. rules: files."""
    every = f"{round(interval * 1000)}ms"
    jobs = [_job(name, _targets(given)) for name, given in targets.items()]
    times = {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every}
    return {"global": times, "rule_files": list(rules), "scrape_configs": jobs}


def _targets(given: str | Target | list[Target]) -> list[Target]:
    if isinstance(given, list):
        return given
    return [Target(given) if isinstance(given, str) else given]


def _job(name: str, targets: list[Target]) -> dict[str, Any]:
    first = targets[0]
    job: dict[str, Any] = {
        "job_name": name,
        "metrics_path": first.path,
        "scheme": first.scheme,
        # As the chart's ServiceMonitor: a series says itself which namespace it is about.
        "honor_labels": True,
        "static_configs": [{"targets": [each.address], "labels": dict(each.labels)} for each in targets],
    }
    if first.bearer_token:
        job["authorization"] = {"credentials": first.bearer_token}
    if first.certificate_authority:
        job["tls_config"] = {"ca_file": str(first.certificate_authority)}
    return job

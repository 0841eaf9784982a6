"""Whatever comes in from outside, its parser answers or refuses it in its own words, and never breaks.

The bodies of the model server are in tests/unit/server/test_binary.py and test_openapi.py; checkpoints are below with all else.
"""

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from gateway.contracts import NoContract, parse_contract
from gateway.members import InvalidMembership, Member, Membership, parse_membership
from gateway.traffic import Traffic
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from trainer.checkpoint_state import STATE_FILE, read_saved
from trainer.checkpoint_store import (
    COMMITTED_FILE,
    MANIFEST_FILE,
    Checkpoint,
    CorruptCheckpointError,
    verify,
)
from trainer.durable import sha256_of
from trainer.rounds import parse_failure
from trainer.strays.telling import parse_notes

from tests import builders as b
from tests.simulation.fake_api import FakeApi
from trainyard.api.crds import KINDS
from trainyard.cli.simulation.files import parse_jobs
from trainyard.cluster.client import ClusterClient
from trainyard.cluster.credentials import chosen
from trainyard.cluster.tokens import TokenRejected, TokenReviewer
from trainyard.endpoint.strays import parse_strays
from trainyard.inference.board import BadSync, GatewayBoard, parse_sync
from trainyard.runtime import audit_chain
from trainyard.runtime.clock import SystemClock
from trainyard.scheduling.traces import TraceError, parse_nodes, parse_pods
from trainyard.training.reports import BadReport, ReportBoard, parse_last_words
from trainyard.workloads.world import World

NOW = datetime(2026, 11, 30, tzinfo=UTC)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**300, max_value=10**310)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["", "sha256:" + "a" * 64, "2026-11-30T00:00:00Z", "1e99999999", "\ud800", "\x00"])
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def spoilt(body: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """The body with one part, at any depth, replaced by anything or taken out."""

    @st.composite
    def strategy(draw: st.DrawFn) -> dict[str, Any]:
        made: dict[str, Any] = json.loads(json.dumps(body))
        place: Any = made
        while True:
            key = draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
            if not place[key] or not isinstance(place[key], dict | list) or draw(st.booleans()):
                break
            place = place[key]
        if isinstance(place, dict) and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(ANYTHING)
        return made

    return strategy()


# The operator.

REPORT: dict[str, Any] = {
    "jobUid": "job",
    "attempt": 1,
    "phase": "training",
    "step": 3,
    "metrics": {"accuracy": 0.5},
    "worldSize": 2,
    "checkpoint": {"step": 2, "path": "a/b"},
    "firstStepAt": "2026-11-30T00:00:00Z",
    "result": {"path": "p", "digest": "sha256:" + "a" * 64, "variants": [{"name": "v", "verdict": "Refused"}]},
    "spent": {"saving": 1.0},
    "stepSeconds": {"p50": 1.0, "slowest": 2.0, "slowestRank": 1},
    "restarted": {"round": 2, "index": 0, "exitCode": 1, "at": 1.0},
}
STRAYED: dict[str, Any] = {"jobUid": "job", "attempt": 1, "times": 3, "paths": ["b-0a1b2c3d/log"]}
SYNC: dict[str, Any] = {
    "namespace": "team",
    "service": "s",
    "serviceUid": "service",
    "pod": "s-gateway-0",
    "generation": 1,
    "members": {"s-1": {"state": "UP", "inUse": 2}},
    "traffic": {"boot": "b", "number": 1, "revisions": {"d": {"requests": 1, "errors": 0, "times": {"3": 1}}}},
}
MANIFESTS = [
    b.training_job("a", b.meta(uid="u"), b.own_claim(), b.role("ps"), b.template(spec={"volumes": [{"name": "v"}]})),
    b.inference_service("s", b.meta(uid="u"), b.spec(gateway={"tls": {"secretName": "t"}}), b.template(spec={})),
    b.a_queue("q"),
    b.a_flavor("f", b.selects(a="b")),
]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: str(each["kind"]))
@given(data=st.data())
def test_a_manifest(manifest: dict[str, Any], data: st.DataObject) -> None:
    """As the API server would never store it, but an older one may have."""
    (model,) = [each for each in KINDS if each.__name__ == manifest["kind"]]
    part = data.draw(st.sampled_from(["spec", "status"] if manifest["spec"] else ["status"]))
    found = {**manifest, part: data.draw(spoilt(manifest[part]) if part in manifest else ANYTHING)}
    with suppress(ValidationError):
        model.model_validate(found)
    World(lambda _key, _why: None).observe(manifest["kind"], None, found)


@given(spoilt(REPORT))
def test_a_progress_report(body: dict[str, Any]) -> None:
    board = ReportBoard()
    board.put(REPORT, NOW)
    with suppress(BadReport):
        board.put(body, NOW)


@given(spoilt(STRAYED))
def test_a_report_of_strays(body: dict[str, Any]) -> None:
    with suppress(BadReport):
        assert str(parse_strays(body)).isprintable()


@given(spoilt(REPORT))
def test_the_last_words_of_a_program(body: dict[str, Any]) -> None:
    parse_last_words(body)


@given(spoilt(SYNC))
def test_the_report_of_a_gateway(body: dict[str, Any]) -> None:
    with suppress(BadSync):
        GatewayBoard().put(parse_sync(body), NOW)


_PAYLOADS = st.text(max_size=30) | ANYTHING.map(lambda claims: json.dumps({"exp": claims}))


@given(st.text(max_size=40) | _PAYLOADS.map(lambda text: f"e30.{_base64(text)}.x"))
async def test_a_token(token: str) -> None:
    """Also one that the API server takes for good, whose claims make no sense."""
    clock = SystemClock()
    api = FakeApi(clock, latency=0)
    user = {"username": "system:serviceaccount:team:default"}
    api.tokens[token] = {"authenticated": True, "audiences": ["trainyard.dev"], "user": user}
    reviewer = TokenReviewer(ClusterClient(api.connect(), clock, Random(1)), clock)
    with suppress(TokenRejected):
        assert (await reviewer.review(token)).namespace == "team"


def _base64(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=")


@given(st.lists(st.binary(max_size=60) | ANYTHING.map(lambda found: json.dumps(found).encode()), max_size=5))
def test_lines_of_an_audit_trail(lines: list[bytes]) -> None:
    assert audit_chain.verify(lines).records == 0


# The commands.

_CELL = st.text(max_size=12) | st.sampled_from(["1", "-1", "1e999", "nan", '"', "2017-10-09 07:01:55", "9" * 400])
TRACES: dict[Callable[[str], Any], str] = {
    parse_nodes: "sn,cpu_milli,memory_mib,gpu,model",
    parse_pods: "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time,deletion_time,scheduled_time",
    parse_jobs: "timestamp,duration,num_gpus,cluster",
}


@pytest.mark.parametrize("parse", TRACES, ids=lambda each: each.__name__)
@given(data=st.data())
def test_a_trace(parse: Callable[[str], Any], data: st.DataObject) -> None:
    header = TRACES[parse] if data.draw(st.booleans()) else data.draw(st.text(max_size=30))
    rows = data.draw(st.lists(st.lists(_CELL, max_size=9).map(",".join), max_size=3))
    with suppress(TraceError):
        parse("\n".join([header, *rows]))


KUBECONFIG = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u", "namespace": "team"}}],
    "clusters": [{"name": "k", "cluster": {"server": "https://x"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}


@given(
    st.binary(max_size=60)
    | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | spoilt(KUBECONFIG).map(lambda found: json.dumps(found).encode())
)
def test_a_kubeconfig(content: bytes) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "config")
        path.write_bytes(content)
        chosen(path, None)


# The gateway.

REPLY: dict[str, Any] = {
    "generation": 1,
    "digest": "sha256:" + "a" * 64,
    "members": [
        {"name": "s-1", "address": "10.0.0.1", "port": 8080, "state": "active", "weight": 100, "canary": False}
    ],
    "split": {"weight": 10},
    "startSeconds": 3,
}
METADATA: dict[str, Any] = {
    "platform": "pytorch",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 2]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}
LINE = "frontend=traffic backend=replicas server=s-1 status=200 term=-- total_ms=3 held_ms=- grpc=- let_in=1"


@given(spoilt(REPLY))
def test_a_membership(reply: dict[str, Any]) -> None:
    with suppress(InvalidMembership):
        parse_membership(reply)


@given(st.binary(max_size=40) | spoilt(METADATA).map(lambda found: json.dumps(found).encode()))
def test_the_metadata_of_a_model(body: bytes) -> None:
    with suppress(NoContract):
        parse_contract(body)


@given(st.data())
def test_a_line_of_haproxy(data: st.DataObject) -> None:
    traffic = Traffic("boot")
    traffic.know(Membership(1, (Member("s-1", "10.0.0.1", 8080, digest="d"),)))
    words = LINE.split()
    at = data.draw(st.integers(0, len(words) - 1))
    key = words[at].partition("=")[0]
    value = data.draw(st.text(max_size=10) | st.sampled_from(["9" * 400, "-1", "1e9", "\u0663", "NaN"]))
    traffic.take(" ".join([*words[:at], f"{key}={value}", *words[at + 1 :]]))
    traffic.take(data.draw(st.text(max_size=40)))
    traffic.report()


# The trainer.


@given(
    st.binary(max_size=200)
    | st.lists(
        st.tuples(st.integers() | st.text(max_size=3), st.integers() | st.text(max_size=3), st.text(max_size=20))
    ).map(lambda lines: "\n".join(" ".join(map(str, line)) for line in lines).encode(errors="replace"))
)
def test_the_notes_of_a_program(notes: bytes) -> None:
    found = parse_notes(notes, [Path("/c")])
    assert (found.times >= 0, len(found.paths) <= 8) == (True, True)
    if found.times:
        parse_strays({"jobUid": "job", "attempt": 1, "times": found.times, "paths": list(found.paths)})


MANIFEST: dict[str, Any] = {"format": 1, "files": {"a": {"sha256": "0" * 64, "bytes": 3}}}
STATE: dict[str, Any] = {"savedAt": "2026-11-30T00:00:00", "metrics": {"loss": 1.0}, "evaluatedStep": 3, "step": 3}


@given(spoilt(MANIFEST) | ANYTHING, st.booleans())
def test_a_checkpoints_manifest(manifest: Any, marked: bool) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "a").write_bytes(b"abc")
        (folder / MANIFEST_FILE).write_text(json.dumps(manifest))
        marker = {"manifest": sha256_of(folder / MANIFEST_FILE)} if marked else manifest
        (folder / COMMITTED_FILE).write_text(json.dumps(marker))
        with pytest.raises(CorruptCheckpointError):
            verify(folder)


@given(spoilt(STATE) | ANYTHING)
def test_a_checkpoints_state(state: Any) -> None:
    with TemporaryDirectory() as name:
        (Path(name) / STATE_FILE).write_text(json.dumps(state))
        saved = read_saved(Checkpoint(1, 3, Path(name)), "loss")
        assert saved.step == 3


@given(spoilt({"index": 1, "exitCode": 1, "cause": "c", "at": 1.0, "counts": True}))
def test_a_failure_that_another_agent_tells(said: dict[str, Any]) -> None:
    with suppress(KeyError, TypeError, ValueError, OverflowError):
        parse_failure(said)

"""A bundle holds what helps and no secret: credentials planted wherever users and programs put them are in none of its files."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import builders as b
from tests.unit.cli.conftest import Run
from tests.unit.cli.stub_api import StubApi
from tests.unit.cli.yards import NOW, SYSTEM, stored
from trainyard.cli.bundle import archive
from trainyard.cli.bundle.archive import Bundle
from trainyard.cli.bundle.pseudonyms import LEFT_OUT, Pseudonyms
from trainyard.cli.bundle.redaction import REDACTED, Redactor

Object = dict[str, Any]
WEB_TOKEN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2lnbmF0dXJl"
KEY = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIPlantedKeyMaterial\n-----END EC PRIVATE KEY-----"
IN_TEXTS = [
    (f"Authorization: Bearer {WEB_TOKEN}", WEB_TOKEN),
    ("Authorization: Basic YW5uOnBsYW50ZWQ=", "YW5uOnBsYW50ZWQ="),
    (f"read {KEY} from disk", "PlantedKeyMaterial"),
    ("cut off -----BEGIN PRIVATE KEY-----\nPlantedHalf", "PlantedHalf"),
    ("using AKIAIOSFODNN7PLANTED", "AKIAIOSFODNN7PLANTED"),
    ("clone https://ann:pl4nted@git.example/x", "pl4nted"),
    ("GET https://s3.example/x?X-Amz-Signature=pl4ntedsig&x=1", "pl4ntedsig"),
    ("password=pl4nted1 user=ann", "pl4nted1"),
    ('{"api_key": "pl4nted2"}', "pl4nted2"),
    ('said: "{\\"token\\": \\"pl4nted2b\\"}"', "pl4nted2b"),
    ("WANDB_API_KEY=pl4nted3", "pl4nted3"),
    ("python train.py --hub-token pl4nted4 --epochs 3", "pl4nted4"),
    ("hf_PlantedPlantedPlanted1", "hf_PlantedPlantedPlanted1"),
    ("ghp_PlantedPlantedPlanted12345", "ghp_PlantedPlanted"),
    ("sk-proj-PlantedPlanted123", "sk-proj-Planted"),
    ("it is Zx9PlantedAbcdefghijklmnopQRSTUVWX12", "Zx9Planted"),
]
HARMLESS = [
    "TrainingJob vision/digits: WaitingForQuota: nvidia.com/gpu on h200: asks 6, 6 of 8 are used",
    "sha256:" + "ab12" * 16,
    "pod digits-worker-0-1 on gpu-node-17.eu-west-1.compute.internal",
    "uid 01234567-89ab-cdef-0123-456789abcdef, step 120/500, loss 0.3123",
    "2026-11-25 10:29:51,104 worker 0 INFO epoch 4 of 17",
    "there are 3 queues, one of them is on hold",
    "registry.example.com/trainyard/trainer:0.1.0",
]


@pytest.mark.parametrize(("text", "secret"), IN_TEXTS)
def test_credentials_are_taken_out_of_texts(text: str, secret: str) -> None:
    found = Redactor().text(text)
    assert secret not in found
    assert REDACTED in found


@pytest.mark.parametrize("text", HARMLESS)
def test_what_helps_stays(text: str) -> None:
    assert Redactor().text(text) == text


@pytest.mark.parametrize(
    "planted",
    [
        {"env": [{"name": "COLOUR", "value": "PLANTED"}]},
        {"env": [{"name": "TRAINYARD_TOKEN", "value": "PLANTED"}]},
        {"args": ["run", "--password", "PLANTED"]},
        {"command": ["sh", "-c", "export X_SECRET=PLANTED; run"]},
        {"data": {"password": "PLANTED"}},
        {"annotations": {"example.com/api-key": "PLANTED"}},
        {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": '{"x":"PLANTED"}'}},
        {"deep": [[{"clientSecret": {"value": "PLANTED"}}]]},
        {"tokens_by_name": ["PLANTED"]},
        {"password=PLANTED": 1},
    ],
)
def test_credentials_are_taken_out_of_objects(planted: Object) -> None:
    assert "PLANTED" not in json.dumps(Redactor().object(planted))


def test_references_and_our_own_variables_stay() -> None:
    container = {
        "env": [
            {"name": "TRAINYARD_ATTEMPT", "value": "3"},
            {"name": "T", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "t"}}},
        ],
        "apiKeysSecret": "keys",
        "requestLimits": {"maxTokens": 5},
    }
    assert Redactor().object(container) == container


@settings(max_examples=40, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_redacting_once_more_changes_nothing(value: Any) -> None:
    redactor = Redactor()
    once = redactor.object(value)
    assert redactor.object(once) == once


# Names.


NAMES = Pseudonyms(
    {
        "Namespace": [b.a_namespace("acme-vision"), b.a_namespace("default")],
        "TrainingJob": [b.training_job("falcon", b.storage("acme-data")), b.training_job("falcon-two")],
        "Queue": [b.a_queue("x")],
    }
)


def test_names_are_replaced_alike_everywhere_and_well_known_ones_stay() -> None:
    text = NAMES.text("TrainingJob acme-vision/falcon waits for falcon-two-worker-0-1 on acme-data; default stays")
    assert "acme" not in text
    assert "falcon" not in text
    assert "default stays" in text
    one, two = NAMES.text("falcon"), NAMES.text("falcon-two")
    assert one != two
    assert f"/{one} waits for {two}-worker-0-1" in text


def test_a_short_name_is_replaced_where_it_stands_alone_and_not_inside_of_texts() -> None:
    assert NAMES.object({"queue": "x"}) != {"queue": "x"}
    assert NAMES.text("x = 3") == "x = 3"


def test_what_users_say_in_their_own_words_is_left_out() -> None:
    spec = {
        "template": {"spec": {}},
        "entrypoint": {"command": ["acme"]},
        "image": "registry.acme.example/falcon/train:1",
        "labels": {"owner": "ann", "trainyard.dev/queue": "research"},
    }
    found = NAMES.object(spec)
    assert found["template"] == found["entrypoint"] == LEFT_OUT
    assert found["image"] == "train:1"
    assert found["labels"] == {"owner": LEFT_OUT, "trainyard.dev/queue": "research"}


def test_images_and_addresses_tell_of_nobody() -> None:
    status = {
        "imageID": "docker-pullable://registry.acme.example/falcon/train@sha256:ab",
        "hostIP": "10.9.8.7",
        "hostIPs": [{"ip": "10.9.8.7"}],
        "podIP": "10.9.8.6",
        "podIPs": [{"ip": "10.9.8.6"}],
    }
    assert NAMES.object(status) == {"imageID": "train@sha256:ab"}


def test_names_of_what_is_gone_are_met_later_and_what_holds_a_known_one_keeps_its_relation() -> None:
    names = Pseudonyms({"TrainingJob": [b.training_job("falcon")]})
    later = [("Pod", "falcon-worker-0-1"), ("Pod", "osprey-worker-0-1"), ("Pod", "lonely"), ("TrainingJob", "osprey")]
    names.meet([*later, ("TrainingJob", "falcon-two")])
    falcon, osprey = names.text("falcon"), names.text("osprey")
    assert names.text("falcon-worker-0-1 and osprey-worker-0-1") == f"{falcon}-worker-0-1 and {osprey}-worker-0-1"
    assert (falcon, names.text("falcon-two"), osprey) == ("job-1", "job-2", "job-3")
    assert names.text("lonely") == "pod-4"


# The archive.


def files(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as tar:
        return {each.name.partition("/")[2]: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]


def test_a_bundle_has_a_bound_and_says_what_did_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 1000)
    monkeypatch.setattr(archive, "MOST_OF_ONE", 400)
    bundle = Bundle(NOW)
    bundle.add_text("logs/long.log", "first\n" + "a line\n" * 100)
    for number in range(4):
        bundle.add_text(f"logs/{number}.log", "b" * 350)
    bundle.add("objects.json", ["c" * 500])
    found = files(bundle.packed())
    assert sorted(found) == ["MANIFEST.json", "logs/0.log", "logs/long.log"]
    assert found["logs/long.log"].startswith(b"a line\n")
    left = json.loads(found["MANIFEST.json"])["leftOut"]
    assert sorted(left) == ["logs/1.log", "logs/2.log", "logs/3.log", "logs/long.log: beginning", "objects.json"]


# The command, on an installation in which secrets are everywhere.


PLANTED = "pl4nted"


def plant(yard: StubApi) -> None:
    """Credentials in specs, annotations, statuses, events, logs and Secrets."""
    env = [{"name": "HUB", "value": PLANTED}, {"name": "WANDB_API_KEY", "value": PLANTED}]
    container = {"name": "trainer", "env": env, "args": ["--token", PLANTED, f"--password={PLANTED}"]}
    notes = {"example.com/token": PLANTED, "kubectl.kubernetes.io/last-applied-configuration": f'{{"k":"{PLANTED}"}}'}
    failure = {
        "phase": "Failed",
        "lastRestart": {"attempt": 1, "cause": f"401 for https://ann:{PLANTED}@hub.example", "time": NOW.isoformat()},
    }
    yard.add(
        stored(
            b.training_job(
                "leaky", b.template(spec={"containers": [container]}), b.meta(annotations=notes), b.status(**failure)
            ),
            b.meta(uid="0123"),
        ),
        {"kind": "Secret", "metadata": {"name": "hub", "namespace": "team"}, "data": {"token": PLANTED}},
        {
            "kind": "Event",
            "metadata": {"name": "e", "namespace": "team"},
            "involvedObject": {"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingJob", "name": "leaky"},
            "message": f"refused: password={PLANTED}",
        },
    )
    deployment = yard.objects[f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/trainyard"]
    deployment["spec"]["template"]["spec"]["containers"][0]["env"] = [
        {"name": "HTTPS_PROXY", "value": f"http://ann:{PLANTED}@proxy"}
    ]
    yard.logs["trainyard-0"] = ["fine", f"Authorization: Bearer {PLANTED}", f'{{"api_key": "{PLANTED}"}}', KEY]
    yard.errors["GET", f"/api/v1/namespaces/{SYSTEM}/pods/trainyard-0%3A8080/proxy/metrics"] = [
        (200, f'up{{secret="{PLANTED}"}} 1\n')
    ]


@pytest.mark.parametrize("anonymous", [False, True])
def test_no_planted_secret_is_in_any_file(yard: StubApi, run: Run, tmp_path: Path, anonymous: bool) -> None:
    plant(yard)
    path = tmp_path / "b.tar.gz"
    code, printed, complained = run("bundle", "-o", str(path), *(["--anonymous"] if anonymous else []))
    assert (code, complained) == (0, "")
    assert path.stat().st_mode & 0o777 == 0o600
    found = files(path.read_bytes())
    assert {
        "doctor.json",
        "objects/trainingjobs.json",
        "events.json",
        "logs/trainyard-0.log",
        "metrics/trainyard-0.prom",
    } <= found.keys()
    leaks = [
        name
        for name, content in found.items()
        if PLANTED.encode() in content or b"PlantedKeyMaterial" in content or b"S0VZ" in content
    ]
    assert leaks == []
    assert b"fine" in found["logs/trainyard-0.log"]
    assert (b"leaky" in b"".join(found.values())) is not anonymous
    manifest = json.loads(found["MANIFEST.json"])
    assert manifest["names"] == ("replaced" if anonymous else "kept")
    assert manifest["redacted"]["variables of the environment"] >= (0 if anonymous else 3)
    assert "Secrets" in manifest["leftOut"]
    assert "left out: Secrets: never read" in printed


def test_no_secret_is_asked_for_but_the_endpoints_certificate(yard: StubApi, run: Run, tmp_path: Path) -> None:
    run("bundle", "-o", str(tmp_path / "b"))
    asked = {each.path for each in yard.requests if "secrets" in each.path}
    assert asked == {f"/api/v1/namespaces/{SYSTEM}/secrets/trainyard-operator-tls"}


def test_what_cannot_be_read_is_left_out_and_said(yard: StubApi, run: Run, tmp_path: Path) -> None:
    yard.errors["GET", "/api/v1/events"] = [
        (403, {"kind": "Status", "reason": "Forbidden", "message": "no events for you"})
    ]
    code, printed, _ = run("bundle", "-o", str(tmp_path / "b"))
    assert code == 0
    assert "left out: events: no events for you" in printed


def event(kind: str, name: str, namespace: str = "team") -> Object:
    return {
        "kind": "Event",
        "metadata": {"name": f"{name}.17ab", "uid": "0123", "namespace": namespace or "default"},
        "involvedObject": {"apiVersion": "v1", "kind": kind, "name": name, "namespace": namespace},
        "message": f"about {name}",
    }


def test_events_of_other_peoples_pods_stay_out(yard: StubApi, run: Run, tmp_path: Path) -> None:
    ours = [event("Pod", "a-worker-0-1"), event("Pod", "s-3"), event("Node", "n0", "")]
    theirs = [event("Pod", "a-worker-0-1", "bank"), event("Pod", "payroll-7"), event("Node", "gone", "")]
    yard.add(*ours, *theirs, event("ConfigMap", "a-x"))
    run("bundle", "-o", str(tmp_path / "b"))
    found = json.loads(files((tmp_path / "b").read_bytes())["events.json"])
    told = sorted((each["involvedObject"]["namespace"], each["involvedObject"]["name"]) for each in found)
    assert told == [("", "n0"), ("team", "a-worker-0-1"), ("team", "s-3")]


def test_names_of_jobs_that_are_gone_are_replaced_too(yard: StubApi, run: Run, tmp_path: Path) -> None:
    about = {"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingJob", "name": "osprey", "namespace": "acme-old"}
    yard.add({**event("TrainingJob", "osprey"), "involvedObject": about})
    incident = {"namespace": "acme-lab", "job": "kestrel", "queue": "birds", "node": "rack-9", "cause": "Node"}
    lines = [
        {"message": "pod refused", "object": "TrainingJob acme-lab/heron"},
        {"message": "seen", "object": {"kind": "InferenceService", "namespace": "acme-lab", "name": "egret"}},
        {"message": "audit", "audit": {"object": "Queue ravens"}},
        {"message": "incident", "incident": incident},
    ]
    yard.logs["trainyard-0"] = [f"2026-11-30T12:00:00Z {json.dumps(each)}" for each in lines]
    run("bundle", "-o", str(tmp_path / "b"), "--anonymous")
    content = b"".join(files((tmp_path / "b").read_bytes()).values()).decode()
    names = ("osprey", "acme", "kestrel", "birds", "rack-9", "heron", "egret", "ravens")
    assert [each for each in names if each in content] == []
    assert "trainyard-0" in content

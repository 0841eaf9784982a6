"""The file of a backup, what a restore decides, and what it needs: without a cluster."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests import builders as b
from trainyard.api.names import RESTORING
from trainyard.api.training_job import TrainingJob
from trainyard.cli.backup import needs
from trainyard.cli.backup.command import refuse_what_is_missing
from trainyard.cli.backup.document import Backup, Saved, in_order, packed, read, unpacked
from trainyard.cli.backup.planning import Kept, Step, There, body, in_turn, patch_between, plan
from trainyard.cli.backup.taking import stripped
from trainyard.cli.errors import CliError
from trainyard.cli.output import write_privately
from trainyard.inference.restoring import come_back as service_comes_back
from trainyard.training.restoring import LEAP, come_back
from trainyard.workloads.understood import KINDS

TAKEN = datetime(2026, 11, 23, 12, tzinfo=UTC)
CREATED = "2026-11-23T10:00:00Z"
PLACE = {
    "epoch": 1,
    "queue": "research",
    "flavor": "h200",
    "time": CREATED,
    "roles": [{"name": "worker", "prefix": "n", "runs": [{"node": "0", "count": 1}]}],
}
Object = dict[str, Any]


def saved(obj: Object, **meta: Any) -> Saved:
    obj["metadata"] |= {"uid": f"uid-{obj['metadata']['name']}", "creationTimestamp": CREATED, "generation": 3} | meta
    return Saved(obj, KINDS[obj["kind"]].model_validate(obj))


def job(name: str, *modifiers: b.Modifier, **meta: Any) -> Saved:
    return saved(b.training_job(name, *modifiers), **meta)


def over() -> b.Modifier:
    stated = {"type": "Complete", "status": "True", "reason": "Completed", "lastTransitionTime": CREATED}
    return b.status(phase="Complete", completionTime=CREATED, conditions=[stated], admission=PLACE, attempt=2)


def a_backup(*found: Saved, digest: str = "sha256:x", **memory: str) -> Backup:
    return Backup(TAKEN, in_order(iter(found)), memory, "cluster-uid", digest)


def there(*objects: Saved, claims: tuple[str, ...] = ("results", "models"), **memory: str) -> There:
    return There(
        {each.key: each.raw for each in objects},
        frozenset({b.NAMESPACE}),
        frozenset(needs.Claim(b.NAMESPACE, name) for name in claims),
        memory,
    )


# The file.


def test_a_file_is_read_as_it_was_written() -> None:
    written = a_backup(saved(b.a_queue("q")), job("a", b.status(attempt=4)), learned="{}")
    found = unpacked(packed(written), "f")
    assert (found.saved, found.taken, found.memory, found.cluster) == (
        written.saved,
        TAKEN,
        {"learned": "{}"},
        "cluster-uid",
    )
    assert found.digest.startswith("sha256:")


def test_a_file_that_was_unpacked_is_read_too() -> None:
    assert len(unpacked(gzip.decompress(packed(a_backup(job("a")))), "f").saved) == 1


def lines(content: bytes) -> list[bytes]:
    return gzip.decompress(content).splitlines(keepends=True)


def retold(line: bytes, **fields: object) -> bytes:
    return orjson.dumps(orjson.loads(line) | fields) + b"\n"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda raw: raw[: len(raw) // 2], "is damaged or cut off"),
        (lambda raw: raw[:-12] + bytes(12), "is damaged or cut off"),
        (lambda raw: b"".join(lines(raw)[:-1]), "ends after 2 of 2 objects: it is cut off"),
        (lambda raw: b"".join(lines(raw)[:1]), "ends after 0 of 2 objects"),
        (lambda raw: b"".join(lines(raw)).replace(b'"cnn"', b'"cnm"'), "was changed or damaged: its digest is"),
        (lambda raw: b"".join([lines(raw)[0], *lines(raw)[2:]]), "was changed or damaged"),
        (lambda _: b"", "is no backup of Trainyard"),
        (lambda _: b"kind: Queue\n", "is no backup of Trainyard"),
        (lambda raw: retold(lines(raw)[0], format="other"), "is of format 'other'; expected trainyard.dev/backup"),
        (lambda raw: retold(lines(raw)[0], version=2), "is of version 2, written by Trainyard"),
    ],
)
def test_a_file_that_is_no_whole_backup_is_refused(damage: Any, said: str) -> None:
    content = packed(a_backup(job("a"), job("z")))
    with pytest.raises(CliError, match=said) as told:
        unpacked(damage(content), "yard.gz")
    assert str(told.value).startswith("yard.gz: ")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"kind": "Secret", "metadata": {"name": "s"}}, "line 2: expected one of TrainingJob, InferenceService"),
        ({**b.training_job("a"), "spec": {"queue": 7}}, "line 2: TrainingJob: spec.queue: .* got '7'"),
    ],
)
def test_what_has_no_place_in_a_backup_is_named_by_its_line(line: Object, said: str) -> None:
    with pytest.raises(CliError, match=said):
        unpacked(packed(Backup(TAKEN, (Saved(line, job("a").thing),))), "f")


def test_a_file_is_for_its_owner_alone_and_whole_or_not_there(tmp_path: Path) -> None:
    write_privately(tmp_path / "f", packed(a_backup(job("a"))))
    assert (tmp_path / "f").stat().st_mode & 0o777 == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["f"]
    assert len(read(tmp_path / "f").saved) == 1
    with pytest.raises(CliError, match="cannot be written: No such file"):
        write_privately(tmp_path / "none" / "f", b"")
    with pytest.raises(CliError, match="cannot be read: No such file"):
        read(tmp_path / "none")


def test_what_belongs_to_one_cluster_stays_there() -> None:
    notes = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "note": "x"}
    owner = [{"kind": "Sweep", "name": "s", "uid": "u"}]
    found = job(
        "a", ownerReferences=owner, finalizers=["f"], managedFields=[{}], resourceVersion="9", annotations=notes
    )
    assert stripped(found.raw)["metadata"].keys() == {
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "generation",
        "annotations",
    }
    assert stripped(found.raw)["metadata"]["annotations"] == {"note": "x"}


# What comes back.


def test_a_job_that_ran_comes_back_without_its_place_and_with_its_past() -> None:
    checkpoint = {"step": 120, "path": "c", "time": CREATED}
    found = job(
        "a", b.storage(), b.status(phase="Running", attempt=3, admission=PLACE, checkpoint=checkpoint, restarts=2)
    )
    assert isinstance(found.thing, TrainingJob)
    status = come_back(found.thing, TAKEN)
    assert (status.phase, status.reason, status.admission, status.attempt) == ("Pending", "Restored", None, 3 + LEAP)
    assert status.checkpoint is not None
    assert (status.checkpoint.step, status.restarts, status.observed_generation) == (120, 2, 1)
    assert status.restored is not None
    assert (status.restored.uid, status.restored.since) == ("uid-a", datetime(2026, 11, 23, 10, tzinfo=UTC))
    assert [each.cause for each in status.incidents] == ["Restored"]


def test_a_job_that_is_restored_once_more_is_still_who_it_was_at_first() -> None:
    at_first = {"uid": "first", "since": "2026-01-01T00:00:00Z", "taken": "2026-02-01T00:00:00Z"}
    found = job("a", b.storage(), b.status(attempt=1003, restored=at_first)).thing
    assert isinstance(found, TrainingJob)
    status = come_back(found, TAKEN)
    assert status.restored is not None
    assert (status.restored.uid, status.restored.since, status.attempt) == (
        "first",
        datetime(2026, 1, 1, tzinfo=UTC),
        2003,
    )


@pytest.mark.parametrize(("placed", "attempt"), [(True, 4), (False, 3)])
def test_an_attempt_without_storage_needs_no_leap(placed: bool, attempt: int) -> None:
    found = job("a", b.status(attempt=3, **({"admission": PLACE} if placed else {}))).thing
    assert isinstance(found, TrainingJob)
    assert come_back(found, TAKEN).attempt == attempt


def test_a_job_that_has_ended_stays_as_it_ended() -> None:
    found = job("a", over()).thing
    assert isinstance(found, TrainingJob)
    status = come_back(found, TAKEN)
    assert status.model_copy(update={"restored": None, "observed_generation": 0}) == found.status
    assert status.restored is not None


def test_a_service_comes_back_with_its_model_and_a_rollout_that_has_time() -> None:
    model = {"claimName": "models", "path": "old", "digest": b.DIGEST}
    canary = {**model, "path": "new"}
    rollout = {"phase": "Progressing", "strategy": "Canary", "stable": model, "canary": canary}
    times = dict.fromkeys(("startedAt", "since", "countedAt"), CREATED)
    status = b.status(model=model, rollout=rollout | times, nextSerial=7, readyTime=CREATED)
    found = saved(b.inference_service("s", status)).thing
    now = TAKEN + timedelta(days=1)
    back = service_comes_back(found, TAKEN, now)  # type: ignore[arg-type]
    assert back.model is not None
    assert back.rollout is not None
    assert (back.model.path, back.next_serial, back.rollout.since, back.admission) == ("old", 7, now, [])


# What a restore does.


def test_nothing_is_there_all_is_created_in_order_of_priority_and_age() -> None:
    found = (
        job("late", creationTimestamp="2026-11-23T11:00:00Z"),
        job("early", creationTimestamp="2026-11-23T09:00:00Z"),
        job("urgent", b.priority(5), creationTimestamp="2026-11-23T11:30:00Z"),
        job("ran", b.status(admission=PLACE)),
        job("ended", over()),
    )
    decided = plan(a_backup(*found), there())
    waves = {
        wave: [step.saved.thing.metadata.name for step in in_turn(decided.steps, wave)]
        for wave in ("at once", "held a place", "waits")
    }
    assert waves == {"at once": ["ended"], "held a place": ["ran"], "waits": ["urgent", "early", "late"]}


def differs(found: Saved) -> Saved:
    return saved({**found.raw, "spec": {**found.raw["spec"], "priority": 9, "weight": 9}})


def marked(found: Saved, digest: str) -> Saved:
    return saved({**found.raw, "metadata": {**found.raw["metadata"], "annotations": {RESTORING: digest}}})


def decision(found: Saved, in_cluster: Saved, *, overwrite: bool = False) -> str:
    decided = plan(a_backup(found), there(in_cluster), overwrite=overwrite)
    match (decided.steps, decided.same, decided.kept):
        case ((Step() as step,), (), ()):
            return step.how
        case ((), (Saved(),), ()):
            return "same"
        case ((), (), (Kept() as kept,)):
            return kept.why
    raise AssertionError(decided)


@pytest.mark.parametrize(
    "found", [job("a"), saved(b.a_queue("q")), saved(b.inference_service("s"))], ids=lambda each: each.kind
)
def test_what_is_there_is_never_replaced_unasked(found: Saved) -> None:
    assert decision(found, found) == "same"
    assert "another spec is there" in decision(found, differs(found))
    assert decision(found, marked(found, "sha256:x")) == "go on"
    assert "another backup is being restored" in decision(found, marked(found, "sha256:y"))
    leaving = saved({**found.raw, "metadata": {**found.raw["metadata"], "deletionTimestamp": CREATED}})
    assert "is being deleted" in decision(found, leaving, overwrite=True)


def test_a_job_that_was_created_anew_is_not_taken_for_the_one_that_was_saved() -> None:
    """GitOps may be faster than a restore; its folder of checkpoints is named by its uid."""
    old, anew = job("a"), job("a", uid="another")
    assert "was created anew" in decision(old, anew)
    assert "delete it first" in decision(old, anew, overwrite=True)
    at_first = {"uid": "uid-a", "since": CREATED, "taken": CREATED}
    back = job("a", b.status(restored=at_first), uid="another")
    assert (decision(old, back), decision(back, old)) == ("same", "same")
    queue = saved(b.a_queue("q"))
    assert decision(queue, saved(b.a_queue("q"), uid="another")) == "same"


def test_what_is_written_out_and_what_is_by_default_is_the_same() -> None:
    short, long = saved(b.a_queue("q")), saved(b.a_queue("q", b.spec(weight=1, stopPolicy="None", preemption={})))
    assert decision(short, long) == "same"


def test_overwrite_replaces_all_but_jobs() -> None:
    assert decision(saved(b.a_queue("q")), differs(saved(b.a_queue("q"))), overwrite=True) == "replace"
    assert "delete it first" in decision(job("a"), differs(job("a")), overwrite=True)


def test_replacing_takes_away_what_the_backup_lacks() -> None:
    old = {"a": 1, "b": {"c": 2, "d": 3}, "gone": {"x": 1}, "list": [1, 2]}
    new = {"a": 1, "b": {"c": 4}, "list": [2], "new": {}}
    assert patch_between(old, new) == {"b": {"c": 4, "d": None}, "gone": None, "list": [2], "new": {}}


def test_only_what_has_a_past_is_created_marked() -> None:
    used = {"periodStart": CREATED, "gpuHours": 3, "updatedAt": CREATED}
    found = (
        saved(b.a_flavor()),
        saved(b.a_queue("q")),
        saved(b.a_queue("counts", b.status(budget=used))),
        job("a", annotations={"note": "x"}),
    )
    made = {step.saved.thing.metadata.name: body(step, "sha256:x") for step in plan(a_backup(*found), there()).steps}
    assert {name for name, each in made.items() if RESTORING in each["metadata"].get("annotations", {})} == {
        "counts",
        "a",
    }
    assert made["a"]["metadata"]["annotations"] == {"note": "x", RESTORING: "sha256:x"}
    assert all("status" not in each and "uid" not in each["metadata"] for each in made.values())


def newest(day: int) -> str:
    return json.dumps({"newest": f"2026-11-{day:02}T00:00:00+00:00"})


def incidents(*days: int) -> str:
    return json.dumps({"format": 1, "incidents": [{"endedAt": f"2026-11-{day:02}T00:00:00Z"} for day in days]})


@pytest.mark.parametrize(
    ("kept", "known", "overwrite", "written"),
    [
        (newest(3), None, False, True),
        (newest(3), newest(2), False, True),
        (newest(2), newest(3), False, False),
        (newest(2), newest(3), True, True),
        (newest(2), newest(2), True, False),
        (newest(2), "damaged", False, True),
        (incidents(1, 4), incidents(2, 3), False, True),
        (incidents(1, 2), incidents(3), False, False),
        (incidents(), incidents(3), False, False),
    ],
)
def test_what_the_operator_knows_of_later_times_stays(
    kept: str, known: str | None, overwrite: bool, written: bool
) -> None:
    cluster = there(memory=known) if known else there()
    assert plan(a_backup(memory=kept), cluster, overwrite=overwrite).memory == (("memory",) if written else ())


# What it needs.


def test_claims_that_checkpoints_and_models_lie_on_must_be_there() -> None:
    begun = b.status(startTime=CREATED)
    found = (
        job("named", b.storage("data")),
        job("made", b.own_claim(), begun),
        job("unborn", b.own_claim()),
        job("ended", b.storage("old"), over()),
        saved(b.inference_service("s")),
    )
    decided = plan(a_backup(*found), there(claims=()))
    assert [claim.name for claim in decided.missing_claims] == ["data", "made", "models"]
    with pytest.raises(CliError, match=r"team/data, which TrainingJob team/named needs(.|\n)*--without-claims"):
        refuse_what_is_missing(decided, without_claims=False)
    refuse_what_is_missing(decided, without_claims=True)


def test_namespaces_must_be_there() -> None:
    decided = plan(a_backup(job("a", b.namespace("gone"))), there())
    with pytest.raises(CliError, match=r"create these namespaces first.*: gone"):
        refuse_what_is_missing(decided, without_claims=True)


def test_secrets_are_named_and_not_in_it() -> None:
    container = {
        "name": "trainer",
        "env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "token", "key": "t"}}}],
        "envFrom": [{"secretRef": {"name": "more"}}],
    }
    spec = {
        "containers": [container],
        "imagePullSecrets": [{"name": "pull"}],
        "volumes": [{"name": "v", "secret": {"secretName": "file"}}],
    }
    keys = b.spec(gateway={"auth": {"apiKeysSecret": "keys"}})
    found = (job("a", b.template(spec=spec)), saved(b.inference_service("s", keys)))
    names = ["team/file", "team/keys", "team/more", "team/pull", "team/token"]
    assert list(plan(a_backup(*found), there()).secrets) == names

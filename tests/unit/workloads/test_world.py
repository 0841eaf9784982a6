"""Who should look when something changed that is not their own."""

from tests import builders as b
from trainyard.workloads.keys import Key
from trainyard.workloads.world import World

RESULT = {"claimName": "models", "path": "a/model", "digest": b.DIGEST}
CHILD, SERVICE, PARENT = (
    Key("TrainingJob", "team", "small"),
    Key("InferenceService", "team", "s"),
    Key("TrainingJob", "team", "a"),
)


def parent(**status: object) -> b.Object:
    return b.training_job("a", b.meta(uid="a"), b.storage("models"), b.status(**status))


def child(name: str = "small", *modifiers: b.Modifier) -> b.Object:
    return b.training_job(name, b.meta(uid=name), *modifiers)


def test_those_who_compress_or_serve_a_jobs_model_look_when_it_is_there() -> None:
    world = World()
    world.observe("TrainingJob", None, child("small", b.compresses("a")))
    world.observe("TrainingJob", None, child("other", b.compresses("b")))
    world.observe("TrainingJob", None, child("elsewhere", b.compresses("a"), b.namespace("elsewhere")))
    world.observe("InferenceService", None, b.inference_service("s", b.meta(uid="s"), b.served_job("a")))
    running = parent(phase="Running")
    assert world.observe("TrainingJob", None, running) == {PARENT, CHILD, SERVICE}
    assert world.observe("TrainingJob", running, parent(phase="Running")) == {PARENT}
    told = parent(phase="Running", result=RESULT)
    assert world.observe("TrainingJob", running, told) == {PARENT, CHILD, SERVICE}
    varied = parent(phase="Running", result=RESULT | {"variants": [{"name": "half", "verdict": "Refused"}]})
    assert world.observe("TrainingJob", told, varied) == {PARENT, CHILD, SERVICE}
    assert world.observe("TrainingJob", varied, None) == {PARENT, CHILD, SERVICE}


def test_one_that_is_gone_or_was_made_anew_without_a_parent_is_not_asked() -> None:
    world = World()
    for after in (None, child()):
        before = child("small", b.compresses("a"))
        world.observe("TrainingJob", None, before)
        world.observe("TrainingJob", before, after)
        assert world.observe("TrainingJob", None, parent(phase="Running")) == {PARENT}
        world.observe("TrainingJob", parent(phase="Running"), None)


def test_one_that_waits_for_its_parents_claim_looks_when_that_comes() -> None:
    world = World()
    world.observe("TrainingJob", None, child("small", b.compresses(claimName="models", path="x")))
    assert world.observe("PersistentVolumeClaim", None, b.a_claim("models")) == {CHILD}
    assert world.observe("PersistentVolumeClaim", None, b.a_claim("results")) == {CHILD}
    assert world.observe("PersistentVolumeClaim", None, b.a_claim("others")) == set()

"""Which provider is taken, and that `current` refuses a context whose owner has not allowed it."""

import json

import pytest

from dev.cluster.current import refuse_unless_allowed
from dev.cluster.errors import SpecError
from dev.cluster.kind import configuration, gateway, worker_records
from dev.cluster.providers import Choice, Docker, choose
from dev.cluster.spec import ClusterSpec


def works() -> Docker:
    return Docker(None)


def broken() -> Docker:
    return Docker("its engine does not answer")


def never_asked() -> Docker:
    raise AssertionError("Docker was asked though the answer does not matter")


def test_kind_is_taken_where_docker_works() -> None:
    assert choose(None, None, works).provider == "kind"


def test_without_docker_local_is_taken_and_the_reason_told() -> None:
    assert choose(None, None, broken) == Choice("local", "its engine does not answer")


@pytest.mark.parametrize("wish", ["kind", "local", "current"])
def test_the_variable_overrides_and_docker_is_not_asked(wish: str) -> None:
    assert choose(None, wish, never_asked) == Choice(wish, f"CLUSTER={wish}")


def test_what_a_test_asks_for_goes_before_the_variable() -> None:
    assert choose("local", "kind", never_asked).provider == "local"


def test_an_audit_log_decides_for_local() -> None:
    assert choose(None, None, never_asked, audit=True).provider == "local"


def test_an_unknown_provider_is_refused_with_those_there_are() -> None:
    with pytest.raises(SpecError, match="kind, local, current"):
        choose(None, "minikube", never_asked)


@pytest.mark.parametrize("allowed", ["", "other", "stag", "stagingx, other"])
def test_a_context_that_is_not_on_the_list_is_refused(allowed: str) -> None:
    with pytest.raises(SpecError, match="TRAINYARD_ALLOWED_CONTEXTS=staging"):
        refuse_unless_allowed("staging", allowed)


@pytest.mark.parametrize("allowed", ["staging", "other, staging"])
def test_a_context_on_the_list_is_used(allowed: str) -> None:
    refuse_unless_allowed("staging", allowed)


def test_every_kind_node_sees_the_folder_of_volumes() -> None:
    nodes = json.loads(configuration(ClusterSpec("demo", nodes=2), "/volumes"))["nodes"]

    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker"]
    assert all(node["extraMounts"] == [{"hostPath": "/volumes", "containerPath": "/volumes"}] for node in nodes)


def test_kind_numbers_its_workers_from_the_second_on() -> None:
    assert [item.name for item in worker_records(ClusterSpec("demo", nodes=3))] == [
        "demo-worker",
        "demo-worker2",
        "demo-worker3",
    ]


def test_the_gateway_of_dockers_network_is_its_ipv4_one() -> None:
    config = [{"Subnet": "fc00::/64", "Gateway": "fc00::1"}, {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1"}]

    assert gateway([{"IPAM": {"Config": config}}]) == "172.18.0.1"


@pytest.mark.parametrize(
    ("name", "nodes", "word"),
    [("Demo", 0, "name"), ("-demo", 0, "name"), ("d" * 31, 0, "name"), ("demo", -1, "nodes"), ("demo", 51, "kwok")],
)
def test_a_spec_that_makes_no_sense_is_refused(name: str, nodes: int, word: str) -> None:
    with pytest.raises(SpecError, match=word):
        ClusterSpec(name, nodes=nodes)

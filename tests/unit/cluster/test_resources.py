"""Addresses of objects."""

import pytest

from trainyard.cluster.resources import ALL, FLAVORS, NODES, PODS, TRAINING_JOBS, resource_of


def test_addresses_of_core_and_grouped_resources() -> None:
    assert PODS.path() == "/api/v1/pods"
    assert PODS.path("team", "p") == "/api/v1/namespaces/team/pods/p"
    assert NODES.path(None, "n1") == "/api/v1/nodes/n1"
    assert TRAINING_JOBS.path("team", "j", "status") == (
        "/apis/trainyard.dev/v1alpha1/namespaces/team/trainingjobs/j/status"
    )
    assert FLAVORS.path("ignored", "h200") == "/apis/trainyard.dev/v1alpha1/flavors/h200"


def test_a_name_cannot_leave_its_place_in_the_address() -> None:
    assert PODS.path("team", "../x") == "/api/v1/namespaces/team/pods/..%2Fx"


def test_an_address_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a namespace"):
        PODS.path(None, "p")
    with pytest.raises(ValueError, match="needs a name"):
        PODS.path("team", None, "status")


def test_an_object_names_its_resource() -> None:
    assert resource_of({"apiVersion": "trainyard.dev/v1alpha1", "kind": "TrainingJob"}) is TRAINING_JOBS
    assert len(ALL) == len({resource.path() for resource in ALL})
    with pytest.raises(KeyError):
        resource_of({"apiVersion": "v1", "kind": "Unknown"})

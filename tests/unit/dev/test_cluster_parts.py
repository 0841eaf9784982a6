"""The text and the objects that a cluster is made of: volumes, GPUs, simulated nodes, names, pins."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.cluster import gpus, kwok, node_files
from dev.cluster.access import server_of
from dev.cluster.binaries import TARGETS, cache_key, linker_flags, pinned, target_of
from dev.cluster.certificates import Authority
from dev.cluster.dns import render
from dev.cluster.errors import BuildError
from dev.cluster.images import PROBE_IMAGE, full_name, write_probe_archive
from dev.cluster.kwok import KwokNodes
from dev.cluster.paths import GO_MODULE
from dev.cluster.storage import awaits_volume, refusal, volume_of


def claim(storage_class: str, *modes: str, node: str | None = None, volume: str | None = None) -> dict[str, Any]:
    annotations = {"volume.kubernetes.io/selected-node": node} if node else {}
    spec: dict[str, Any] = {"storageClassName": storage_class, "accessModes": list(modes)}
    spec["resources"] = {"requests": {"storage": "1Gi"}}
    if volume:
        spec["volumeName"] = volume
    return {"metadata": {"name": "c", "namespace": "n", "uid": "u", "annotations": annotations}, "spec": spec}


def test_a_shared_claim_is_served_at_once_in_any_mode() -> None:
    wanted = claim("shared", "ReadWriteMany")

    assert awaits_volume(wanted)
    assert refusal(wanted) is None


def test_a_single_claim_waits_for_its_node_and_its_volume_stays_there() -> None:
    assert not awaits_volume(claim("single", "ReadWriteOnce"))
    wanted = claim("single", "ReadWriteOnce", node="node-2")

    assert awaits_volume(wanted)
    terms = volume_of(wanted, Path("/volumes"))["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert terms[0]["matchExpressions"][0]["values"] == ["node-2"]


def test_a_single_claim_for_many_is_refused_with_the_class_that_can() -> None:
    assert "use shared" in (refusal(claim("single", "ReadWriteMany", node="node-2")) or "")


@pytest.mark.parametrize(
    "other", [claim("standard", "ReadWriteOnce"), claim("shared", "ReadWriteOnce", volume="pvc-1")]
)
def test_claims_of_others_and_those_served_are_left_alone(other: dict[str, Any]) -> None:
    assert not awaits_volume(other)


def test_a_node_whose_kubelet_forgot_its_gpus_is_noticed() -> None:
    node = {"metadata": {"annotations": {gpus.WISH: "4"}}, "status": {"capacity": {"nvidia.com/gpu": "0"}}}

    assert gpus.missing(node) == "4"
    assert gpus.missing({"metadata": {}, "status": {}}) is None


def test_simulated_nodes_stand_in_racks_and_blocks() -> None:
    nodes = list(KwokNodes(10, nodes_per_rack=2, racks_per_block=2).manifests())
    places = [
        (node["metadata"]["labels"][kwok.LABEL_RACK], node["metadata"]["labels"][kwok.LABEL_BLOCK]) for node in nodes
    ]

    assert places[:3] == [("kwok-rack-0", "kwok-block-0")] * 2 + [("kwok-rack-1", "kwok-block-0")]
    assert places[-1] == ("kwok-rack-4", "kwok-block-2")
    assert nodes[0]["metadata"]["labels"]["kubernetes.io/hostname"] == nodes[0]["metadata"]["name"] == "kwok-0001"
    assert nodes[0]["status"]["allocatable"]["nvidia.com/gpu"] == "8"


def test_a_later_batch_continues_the_racks_of_the_first() -> None:
    (node,) = KwokNodes(1, first=9, nodes_per_rack=8).manifests()

    assert node["metadata"]["name"] == "kwok-0009"
    assert node["metadata"]["labels"][kwok.LABEL_RACK] == "kwok-rack-1"


def test_a_node_without_gpus_says_nothing_about_them() -> None:
    (node,) = KwokNodes(1, gpus=0).manifests()

    assert kwok.LABEL_GPU_MODEL not in node["metadata"]["labels"]
    assert "nvidia.com/gpu" not in node["status"]["capacity"]


def test_the_stages_of_kwok_use_the_annotations_that_the_code_names() -> None:
    text = kwok.STAGES.read_text()
    names = [document["metadata"]["name"] for document in yaml.safe_load_all(text)]

    assert names == ["node-starts", "node-heartbeat", "pod-runs", "pod-ends", "pod-goes"]
    assert kwok.COMPLETE_AFTER in text
    assert kwok.EXIT_CODE in text


@pytest.mark.parametrize(
    ("short", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("trainyard/server:dev", "docker.io/trainyard/server:dev"),
        ("docker.io/trainyard/server:dev", "docker.io/trainyard/server:dev"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
    ],
)
def test_image_names_are_completed_as_containerd_does(short: str, full: str) -> None:
    assert full_name(short) == full


def test_the_probe_image_is_one_layer_with_one_program(tmp_path: Path) -> None:
    program = tmp_path / "probe"
    program.write_bytes(b"program")
    write_probe_archive(program, tmp_path / "probe.tar")

    with tarfile.open(tmp_path / "probe.tar") as archive:
        contents = {entry.name: archive.extractfile(entry).read() for entry in archive}  # type: ignore[union-attr]
    (named,) = json.loads(contents["index.json"])["manifests"]
    manifest = json.loads(contents[f"blobs/sha256/{named['digest'][7:]}"])
    layer = contents[f"blobs/sha256/{manifest['layers'][0]['digest'][7:]}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.getnames() == ["probe"]
    assert named["annotations"]["io.containerd.image.name"] == PROBE_IMAGE


def test_the_resolver_answers_for_the_cluster_without_a_resolver_of_this_machine() -> None:
    text = render("10.200.0.1", Path("/k"), None)

    assert "bind 10.200.0.1" in text
    assert "forward" not in text
    assert "forward . /etc/resolv.conf" in render("10.200.0.1", Path("/k"), Path("/etc/resolv.conf"))


def test_kubelet_gets_the_group_of_its_node() -> None:
    paths = {name: Path(f"/{name}") for name in ("authority", "certificate", "key", "resolvers")}
    config = json.loads(node_files.kubelet(cgroup="/trainyard/demo/node-1", **paths))

    assert config["cgroupRoot"] == "/trainyard/demo/node-1"
    assert config["failCgroupV1"] is False


def test_pins_are_read_and_told_to_the_linker() -> None:
    text = (GO_MODULE / "go.mod").read_text()

    assert pinned(text, "k8s.io/kubernetes").startswith("v1.34.")
    assert "gitMinor=34" in linker_flags(text)
    with pytest.raises(BuildError, match="not pinned"):
        pinned(text, "example.org/none")


def test_the_cache_key_changes_with_any_source(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module a\n")
    (tmp_path / "main.go").write_text("package main\n")
    before = cache_key(tmp_path)
    (tmp_path / "main.go").write_text("package main // changed\n")

    assert cache_key(tmp_path) != before


def test_every_program_is_built_by_one_target() -> None:
    programs = [program for target in TARGETS for program in target.programs]

    assert len(set(programs)) == len(programs)
    assert target_of("kubelet").package == "./servers"


def test_the_authority_signs_what_openssl_would_trust(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.create()
    certificate, key = authority.issue("server", "kube-apiserver", hosts=["127.0.0.1", "kubernetes"])

    assert b"BEGIN CERTIFICATE" in certificate.read_bytes()
    assert key.stat().st_mode & 0o077 == 0


def test_the_server_of_a_kubeconfig_comes_with_its_authority() -> None:
    config = {"clusters": [{"cluster": {"server": "https://x:1", "certificate-authority-data": "cGVt"}}]}

    assert server_of(config) == ("https://x:1", b"pem")

"""Claims of the two storage classes become folders on this machine.

`shared` (the default) gives any access mode, as a network file system would. `single` gives only ReadWriteOnce,
and only on the node where its first pod landed, as a local disk would. Neighbour: `caretaker` runs this.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dev.cluster.api import Api, ApiError

PROVISIONER = "trainyard.dev/local-folders"
SHARED, SINGLE = "shared", "single"
CLAIMS = "/api/v1/persistentvolumeclaims"
VOLUMES = "/api/v1/persistentvolumes"
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_SINGLE_MODES = {"ReadWriteOnce", "ReadWriteOncePod"}
_EVERYBODY = 0o777  # pods run as a user of their own, and nothing on a host path is handed over to it


def storage_classes() -> list[dict[str, Any]]:
    """The classes every cluster has."""
    return [
        _storage_class(SHARED, "Immediate", default=True),
        _storage_class(SINGLE, "WaitForFirstConsumer", default=False),
    ]


def refusal(claim: dict[str, Any]) -> str | None:
    """Why a claim cannot be served, or None."""
    modes = set(claim["spec"].get("accessModes", []))
    if claim["spec"].get("storageClassName") == SINGLE and not modes <= _SINGLE_MODES:
        return f"storage class {SINGLE} gives only ReadWriteOnce, not {', '.join(sorted(modes - _SINGLE_MODES))}; use {SHARED}"
    if claim["spec"].get("volumeMode", "Filesystem") != "Filesystem":
        return "only volumes of mode Filesystem can be had here"
    return None


def awaits_volume(claim: dict[str, Any]) -> bool:
    """Whether a claim is ours to serve now."""
    spec = claim["spec"]
    if spec.get("storageClassName") not in {SHARED, SINGLE} or spec.get("volumeName"):
        return False
    if claim["metadata"].get("deletionTimestamp"):
        return False
    return spec["storageClassName"] == SHARED or _SELECTED_NODE in claim["metadata"].get("annotations", {})


def volume_of(claim: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The volume that serves a claim, bound to it and nobody else."""
    meta, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{meta['uid']}"
    volume: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {_PROVISIONED_BY: PROVISIONER}},
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": meta["namespace"],
                "name": meta["name"],
                "uid": meta["uid"],
            },
            "hostPath": {"path": str(folder / name), "type": "Directory"},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec["storageClassName"],
        },
    }
    if spec["storageClassName"] == SINGLE:
        node = meta["annotations"][_SELECTED_NODE]
        term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}
        volume["spec"]["nodeAffinity"] = {"required": {"nodeSelectorTerms": [term]}}
    return volume


@dataclass
class Provisioner:
    """One pass makes volumes for claims that wait and removes those whose claim is gone."""

    api: Api
    folder: Path
    told: set[str]

    def pass_once(self) -> None:
        for claim in self.api.items(CLAIMS):
            if awaits_volume(claim):
                self._serve(claim)
        for volume in self.api.items(VOLUMES):
            if self._released(volume):
                self._remove(volume["metadata"]["name"])

    def _serve(self, claim: dict[str, Any]) -> None:
        reason = refusal(claim)
        if reason is not None:
            self._tell(claim, reason)
            return
        volume = volume_of(claim, self.folder)
        path = self.folder / volume["metadata"]["name"]
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(_EVERYBODY)
        self.api.create(VOLUMES, volume)

    def _released(self, volume: dict[str, Any]) -> bool:
        ours = volume["metadata"].get("annotations", {}).get(_PROVISIONED_BY) == PROVISIONER
        policy = volume["spec"].get("persistentVolumeReclaimPolicy")
        return bool(ours) and policy == "Delete" and volume.get("status", {}).get("phase") == "Released"

    def _remove(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        self.api.delete(f"{VOLUMES}/{name}")

    def _tell(self, claim: dict[str, Any], reason: str) -> None:
        """Say once, as an event on the claim, why it will wait for ever."""
        uid = claim["metadata"]["uid"]
        if uid in self.told:
            return
        self.told.add(uid)
        meta = claim["metadata"]
        about = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{meta['name']}.", "namespace": meta["namespace"]},
            "involvedObject": {**about, "namespace": meta["namespace"], "name": meta["name"], "uid": uid},
            "type": "Warning",
            "reason": "ProvisioningFailed",
            "message": reason,
            "source": {"component": PROVISIONER},
        }
        try:
            self.api.create(f"/api/v1/namespaces/{meta['namespace']}/events", event)
        except ApiError:
            self.told.discard(uid)


def _storage_class(name: str, mode: str, *, default: bool) -> dict[str, Any]:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name, "annotations": {_DEFAULT_CLASS: str(default).lower()}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": mode,
    }

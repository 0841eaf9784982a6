"""Names that users have chosen, replaced by others: the same name always by the same one, so that relations are still seen. Pure."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from trainyard.api.names import GROUP
from trainyard.cluster.resources import Object

LEFT_OUT = "[left out]"
_OWN_WORDS = frozenset({"template", "entrypoint", "command", "args", "files", "url", "source"})
"""Fields of a spec in which users speak for themselves."""
_WELL_KNOWN = frozenset({"default", "kube-system", "kube-public", "kube-node-lease", "trainyard-system", "trainyard"})
_SHORT = 3
"""A shorter name is a word of the language, too, and hides nobody: it is replaced where it stands alone."""
_KINDS = {
    "Namespace": "namespace",
    "Node": "node",
    "Queue": "queue",
    "Flavor": "flavor",
    "TrainingJob": "job",
    "InferenceService": "service",
}
_ADDRESSES = frozenset({"addresses", "hostIP", "hostIPs", "podIP", "podIPs"})
_OURS = (GROUP, "kubernetes.io", "k8s.io", "nvidia.com")


class Pseudonyms:
    """Of one bundle."""

    def __init__(self, objects: Mapping[str, Iterable[Object]]) -> None:
        """objects: by kind, whose names are replaced."""
        self._of: dict[str, str] = {}
        for kind, word in _KINDS.items():
            names = sorted({each["metadata"]["name"] for each in objects.get(kind, ())} - _WELL_KNOWN)
            for name in names:
                self._of.setdefault(name, f"{word}-{len(self._of) + 1}")
        claims = {
            name
            for kind in ("TrainingJob", "InferenceService")
            for each in objects.get(kind, ())
            for name in _claims(each)
        }
        for name in sorted(claims - self._of.keys()):
            self._of[name] = f"claim-{len(self._of) + 1}"
        self._inside = self._pattern()

    def meet(self, named: Iterable[tuple[str, str]]) -> None:
        """Further names by kind, of objects that are gone. What is named after its owner, as a pod, is hidden with that."""
        new = sorted({each for each in named if each[1] not in _WELL_KNOWN})
        for owners in (True, False):
            for kind, name in new:
                if (kind in _KINDS) is owners and name not in self._of and (owners or self.text(name) == name):
                    self._of[name] = f"{_KINDS.get(kind, kind.lower())}-{len(self._of) + 1}"
            self._inside = self._pattern()

    def _pattern(self) -> re.Pattern[str] | None:
        """Finds names inside of texts."""
        long = sorted((name for name in self._of if len(name) >= _SHORT), key=len, reverse=True)
        # A pod's name begins with that of its job, and goes on with a dash.
        return re.compile(rf"(?<![A-Za-z0-9-])({'|'.join(map(re.escape, long))})(?![A-Za-z0-9])") if long else None

    def text(self, text: str) -> str:
        """With other names."""
        if text in self._of:
            return self._of[text]
        return self._inside.sub(lambda found: self._of[found[1]], text) if self._inside else text

    def object(self, value: Any) -> Any:
        """The same of JSON; and without what users say in their own words."""
        if isinstance(value, Mapping):
            return {self.text(key): self._field(key, each) for key, each in value.items() if key not in _ADDRESSES}
        if isinstance(value, list):
            return [self.object(each) for each in value]
        return self.text(value) if isinstance(value, str) else value

    def _field(self, key: str, value: Any) -> Any:
        if key in _OWN_WORDS and value:
            return LEFT_OUT
        if key in ("image", "imageID") and isinstance(value, str):
            return value.rpartition("/")[2]
        if key in ("labels", "annotations", "nodeSelector", "matchLabels") and isinstance(value, Mapping):
            return {
                self.text(name): self.object(each) if any(part in name for part in _OURS) else LEFT_OUT
                for name, each in value.items()
            }
        return self.object(value)


def _claims(obj: Object) -> set[str]:
    spec = obj.get("spec") or {}
    named = ((spec.get("storage") or {}).get("claimName"), (spec.get("model") or {}).get("claimName"))
    return {str(each) for each in named if each}

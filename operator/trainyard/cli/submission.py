"""Documents of a file as objects that can be created, checked against the models before anything is sent."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
from pydantic import ValidationError

from trainyard.api.crds import KINDS
from trainyard.api.meta import Model
from trainyard.api.names import API_VERSION
from trainyard.cli.errors import CliError
from trainyard.cli.manifests import FieldPath, Manifest, misjudged
from trainyard.cluster.resources import Object, Resource, resource_of

_MODELS = {model.__name__: model for model in KINDS}
_Kind = TypeVar("_Kind", bound=Model)
_AT_THE_TOP = ("apiVersion", "kind", "metadata", "spec")


@dataclass(frozen=True, slots=True)
class Submission:
    """One object to be created."""

    manifest: Manifest
    resource: Resource
    namespace: str
    """Empty for kinds of the whole cluster."""
    name: str
    body: Object

    def __str__(self) -> str:
        return (
            f"{self.resource.kind} {self.namespace}/{self.name}"
            if self.namespace
            else f"{self.resource.kind} {self.name}"
        )

    @property
    def origin(self) -> str:
        return f"{self.manifest.source}: document {self.manifest.number}: {self}"


def submissions(documents: Sequence[Manifest], asked: str | None, default: str) -> list[Submission]:
    """Raises CliError with all that is wrong with all documents. asked: the namespace of -n; default: that of the context."""
    found: dict[str, Submission] = {}
    wrong: list[CliError] = []
    for document in documents:
        problems = list(_problems(document, asked))
        wrong += problems
        if problems:
            continue
        made = _submission(document, asked or default)
        if str(made) in found:
            earlier = found[str(made)].manifest.number
            wrong.append(document.error(("metadata", "name"), f"a name of its own: document {earlier} is {made} too"))
        found.setdefault(str(made), made)
    if wrong:
        raise all_of("nothing was created, since the file is not as it should be:", wrong)
    return list(found.values())


def all_of(head: str, errors: Sequence[CliError]) -> CliError:
    """One error that tells of several."""
    return CliError("\n  ".join((head, *map(str, errors))))


def _problems(document: Manifest, asked: str | None) -> Iterator[CliError]:
    model = _MODELS.get(str(document.value.get("kind")))
    if model is None:
        yield document.error(("kind",), f"one of {', '.join(_MODELS)}")
        return
    if document.value.get("apiVersion") != API_VERSION:
        yield document.error(("apiVersion",), API_VERSION)
        return
    try:
        given = _json(document)
    except TypeError as error:
        yield document.error((), f"what JSON can say: {error}")
        return
    try:
        read = _read(model, given)
    except ValidationError as error:
        yield from document.all_invalid(error)
        return
    known = dict.fromkeys(_AT_THE_TOP) | {"spec": read.spec.model_dump(by_alias=True, mode="json")}
    yield from (document.unknown(path, near) for path, near in _unknown(orjson.loads(given), known, ()))
    namespace = document.value["metadata"].get("namespace")
    if asked and namespace and namespace != asked and resource_of({**document.value}).namespaced:
        yield document.error(("metadata", "namespace"), f"{asked}, as -n says, or leave one of them out")


def _read(model: type[_Kind], given: bytes) -> _Kind:
    """As strict as the API server, for whom "4" is no number. Raises ValidationError."""
    try:
        return model.model_validate_json(given, strict=True)
    except ValidationError as error:
        if not all(map(misjudged, error.errors(include_url=False))):
            raise
    return model.model_validate_json(given)  # what is in the lists, strictly, is the API server's to say


def _json(document: Manifest) -> bytes:
    # A status is not looked at when something is created. Keys that are no texts become some, as they do in kubectl.
    given = {key: value for key, value in document.value.items() if key != "status"}
    return orjson.dumps(given, option=orjson.OPT_NON_STR_KEYS)


def _unknown(given: Any, known: Any, path: FieldPath) -> Iterator[tuple[FieldPath, list[str]]]:
    """Fields of `given` that `known`, what the models made of it, lacks. Free-form parts come back as they were given."""
    if isinstance(given, Mapping) and isinstance(known, Mapping):
        for name, value in given.items():
            if name in known:
                yield from _unknown(value, known[name], (*path, name))
            else:
                yield (*path, name), difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    elif isinstance(given, list) and isinstance(known, list):
        for index, (mine, theirs) in enumerate(zip(given, known, strict=False)):
            yield from _unknown(mine, theirs, (*path, index))


def _submission(document: Manifest, namespace: str) -> Submission:
    body: Object = orjson.loads(_json(document))
    resource = resource_of(body)
    metadata = body["metadata"]
    if resource.namespaced:
        metadata["namespace"] = metadata.get("namespace") or namespace
    return Submission(document, resource, metadata["namespace"] if resource.namespaced else "", metadata["name"], body)

"""Answers to `why`, `plan` and `top` from the cluster itself, read with the user's own rights and put before the same scheduler."""

import difflib
from collections.abc import Sequence

from pydantic import ValidationError

from trainyard.api.answers import Plan, Top, Why
from trainyard.cli.asking import Question
from trainyard.cli.errors import CliError
from trainyard.cli.manifests import Manifest
from trainyard.cli.reading import connected, picture
from trainyard.questions import plan as planning
from trainyard.questions import top as topping
from trainyard.questions import why as asking
from trainyard.questions.hurry import in_a_hurry
from trainyard.questions.picture import NotPlannedError, Picture, planned
from trainyard.runtime.clock import SystemClock
from trainyard.scheduling.snapshot import Workload
from trainyard.scheduling.whatif import settle


async def why(question: Question, kind: str | None, name: str) -> Why:
    """Raises CliError if there is none of that name."""
    seen = await _picture(question)
    thing = seen.find(question.namespace, name, kind)
    if thing is None:
        raise CliError(_nothing_of_that_name(seen, question.namespace, name))
    return asking.why(seen, thing, in_a_hurry())


async def plan(question: Question, documents: Sequence[Manifest]) -> Plan:
    """Raises CliError for a document that cannot be planned."""
    seen = await _picture(question)
    added = [each for document in documents for each in _added(question, seen, document)]
    return planning.plan(settle(seen.snapshot, seen.now), added, in_a_hurry())


async def top(question: Question) -> Top:
    seen = await _picture(question)
    return topping.top(settle(seen.snapshot, seen.now), question.namespace)


async def _picture(question: Question) -> Picture:
    """Raises NotAllowedError if the user may not read what the scheduler looks at."""
    async with connected(question.options) as client:
        return await picture(client, SystemClock())


def _nothing_of_that_name(picture: Picture, namespace: str, name: str) -> str:
    names = picture.names(namespace)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if near:
        hint = f"near to it: {', '.join(near)}"
    elif names:
        hint = f"there are: {', '.join(names[:5])}{' ...' if len(names) > 5 else ''}"  # noqa: PLR2004  a hint, no list
    else:
        hint = "there is none at all; name another namespace with -n"
    return f"no TrainingJob or InferenceService {name!r} in namespace {namespace!r}; {hint}"


def _added(question: Question, picture: Picture, document: Manifest) -> list[Workload]:
    try:
        thing, added = planned(picture.world, document.value, question.namespace, picture.now)
    except NotPlannedError as error:
        raise document.error(("kind",), str(error)) from None
    except ValidationError as error:
        raise document.invalid(error) from None
    if not added:
        raise document.error(
            ("spec",),
            "something that wants a place: spec.suspend is true, spec.replicas is 0, or its model does not exist yet",
        )
    meta = thing.metadata
    if picture.find(meta.namespace, meta.name, thing.kind) is not None:
        raise document.error(
            ("metadata", "name"),
            f"a new name: there is a {thing.kind} {meta.namespace}/{meta.name}; `trainyard why` tells of it",
        )
    return added

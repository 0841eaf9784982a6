"""Answers for people who may see one namespace only: what belongs to others is there, and its name is not.

Whatever stands in an answer as namespace/name, in a field or in the middle of a sentence, is replaced unless the namespace is the
asker's own: a new sentence somewhere in the scheduler cannot leak what it does not know about.
"""

import re
from collections.abc import Collection
from typing import Any, TypeVar

from trainyard.api.meta import Model

_Answer = TypeVar("_Answer", bound=Model)
_KIND = r"(?:(?P<kind>TrainingJob|InferenceService|Pod) )?"
_NAME = re.compile(
    _KIND
    + r"(?<![\w./-])(?P<namespace>[a-z0-9][a-z0-9-]{0,62})/[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?: \((?:replica \d+|ending)\))?"
)
_CALLED = {"TrainingJob": "a job", "InferenceService": "a service", "Pod": "a pod"}


def anonymous(answer: _Answer, namespace: str, others: Collection[str]) -> _Answer:
    """The answer as somebody of `namespace` may see it. others: all namespaces that there are."""
    hidden = frozenset(others) - {namespace}
    return type(answer).model_validate(_masked(answer.model_dump(), hidden))


def _masked(value: Any, hidden: frozenset[str]) -> Any:
    if isinstance(value, dict):
        return {key: _masked(each, hidden) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_masked(each, hidden) for each in value]
    return _text(value, hidden) if isinstance(value, str) else value


def _text(text: str, hidden: frozenset[str]) -> str:
    def replaced(found: re.Match[str]) -> str:
        if found["namespace"] not in hidden:
            return found[0]
        return f"{_CALLED.get(found['kind'] or '', 'somebody')} of another namespace"

    return _NAME.sub(replaced, text)

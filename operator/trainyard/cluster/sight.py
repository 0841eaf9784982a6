"""Which of the namespaces that an operator is confined to it can see whole.

One that read jobs and not their pods would make these anew, so nothing of a namespace counts until all that is needed of it was
read, and nothing is done there while some of it is refused. One namespace that is missing, or whose Role is, disturbs no other.
"""

from collections.abc import Callable, Collection, Iterator

from trainyard.api.sight import View
from trainyard.cluster.resources import NAMESPACES

OnSight = Callable[[str, bool], object]
"""Namespace, and whether it is seen whole from now on."""


class Sight:
    """Told by caches what was read and what was refused. Without namespaces everything is seen."""

    def __init__(self, namespaces: Collection[str] = (), needed: Collection[str] = ()) -> None:
        """needed: plurals of the kinds without which a namespace is not seen whole."""
        self.namespaces = tuple(namespaces)
        self._needed = frozenset(needed)
        self._read: dict[str, set[str]] = {each: set() for each in self.namespaces}
        self._refused: dict[str, dict[str, str]] = {each: {} for each in self.namespaces}
        self._handlers: list[OnSight] = []

    def on_change(self, handler: OnSight) -> None:
        """Call the handler when a namespace comes into sight, or is lost from it."""
        self._handlers.append(handler)

    def whole(self, namespace: str) -> bool:
        """Whether all that is needed of the namespace is known. What is in no namespace always is."""
        return not self.namespaces or not namespace or self._needed <= self._read.get(namespace, set())

    def read(self, kind: str, namespace: str) -> None:
        """A complete list of the kind was taken in."""
        before = self.whole(namespace)
        self._refused[namespace].pop(kind, None)
        self._read[namespace].add(kind)
        self._tell(namespace, before)

    def refused(self, kind: str, namespace: str, why: str) -> None:
        """The API server does not let us read the kind there."""
        before = self.whole(namespace)
        self._refused[namespace][kind] = why
        self._read[namespace].discard(kind)
        self._tell(namespace, before)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Each namespace that is not seen whole, or of which some kind is refused, and why."""
        for namespace in self.namespaces:
            if refused := self._refused[namespace]:
                kind, why = min(refused.items())
                others = f", nor {len(refused) - 1} other kinds" if refused.keys() - {kind} else ""
                yield namespace, f"{kind} cannot be read{others}: {why}"
            elif not self.whole(namespace):
                missing = ", ".join(sorted(self._needed - self._read[namespace]))
                yield namespace, f"not read yet: {missing}"

    def view(self, namespace: str, *, shown: bool) -> View:
        """How it stands with one of them. shown: whether there is such a Namespace, as far as these were read."""
        if not shown and NAMESPACES.plural in self._read[namespace]:
            return View.MISSING
        if self._refused[namespace]:
            return View.REFUSED
        return View.SEEN if self.whole(namespace) else View.UNREAD

    def told(self) -> str | None:
        """The problems in one text; None if there are none."""
        return "; ".join(f"namespace {name}: {why}" for name, why in self.problems()) or None

    def blind(self) -> str | None:
        """Why nothing can be done at all; None if some namespace is seen."""
        if not self.namespaces or any(map(self.whole, self.namespaces)):
            return None
        return f"none of the namespaces {', '.join(self.namespaces)} can be seen"

    def _tell(self, namespace: str, before: bool) -> None:
        now = self.whole(namespace)
        if now is not before:
            for handler in self._handlers:
                handler(namespace, now)

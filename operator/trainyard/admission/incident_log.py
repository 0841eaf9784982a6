"""The last incidents of all jobs, also of those that are gone: the statuses of jobs have them only for as long as the jobs exist.

A bounded list in memory, which `memory` writes to a ConfigMap; and a line in the operator's log for each incident that is over, for
whoever keeps logs and wants all of them for ever.
"""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from trainyard.api.incident import JobIncident
from trainyard.scheduling.unwritten import Unwritten

log = logging.getLogger(__name__)

MOST = 500
"""About a kilobyte each, and a ConfigMap holds a thousand."""
_FORMAT = 1


class IncidentLog:
    """Of one operator."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int, datetime], JobIncident] = {}
        self.unwritten = Unwritten[JobIncident]()

    def all(self) -> list[JobIncident]:
        return list(self._kept.values())

    def over(self, incidents: Iterable[JobIncident]) -> None:
        """They have come to their end: just now, or while nobody led. What is known already is not told again."""
        for each in incidents:
            if self._add(each):
                log.info("incident", extra={"incident": each.model_dump(by_alias=True, mode="json")})

    def to_dict(self) -> dict[str, Any]:
        """What is kept, as JSON can hold it."""
        kept = [each.model_dump(by_alias=True, mode="json", exclude_defaults=True) for each in self._kept.values()]
        return {"format": _FORMAT, "incidents": kept}

    def recall(self, kept: Mapping[str, Any]) -> None:
        """The inverse of `to_dict`; what is known here alone stays, and is news. Raises ValueError if it is damaged."""
        try:
            found = [JobIncident.model_validate(each) for each in kept["incidents"]]
        except (ValidationError, KeyError, TypeError) as error:
            raise ValueError(f"the incidents are damaged and are to be deleted: {error!r}") from error
        theirs = {each.key: each for each in found}
        newest = sorted((self._kept | theirs).values(), key=_when)[-MOST:]
        self._kept = {each.key: each for each in newest}
        self.unwritten.known(lambda _each: True)
        for key in self._kept.keys() - theirs.keys():
            self.unwritten.add(self._kept[key])

    def _add(self, incident: JobIncident) -> bool:
        if incident.key in self._kept:
            return False
        if len(self._kept) >= MOST:
            oldest = min(self._kept.values(), key=_when)
            if _when(oldest) >= _when(incident):
                return False
            del self._kept[oldest.key]
        self._kept[incident.key] = incident
        self.unwritten.add(incident)
        return True


def _when(incident: JobIncident) -> float:
    return (incident.ended_at or incident.detected_at).timestamp()

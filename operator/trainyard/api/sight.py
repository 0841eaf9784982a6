"""How an operator sees the namespaces to which it is confined."""

from enum import StrEnum


class View(StrEnum):
    """Of one namespace, the first of these that holds."""

    MISSING = "missing"
    REFUSED = "refused"
    UNREAD = "unread"
    SEEN = "seen"

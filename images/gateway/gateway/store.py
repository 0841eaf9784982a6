"""The last membership on disk, so that a sidecar that restarts while the operator is away knows what it knew."""

import logging
from pathlib import Path

import orjson

from gateway.members import InvalidMembership, Membership, parse_membership

_log = logging.getLogger(__name__)


def save(path: Path, membership: Membership) -> None:
    """Replace the file atomically. A full disk is logged, not fatal: traffic matters more."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_bytes(orjson.dumps(membership.as_json()))
        fresh.replace(path)
    except OSError as error:
        _log.warning("cannot save the membership to %s: %s", path, error.strerror)


def load(path: Path) -> Membership | None:
    """Membership last saved, None where there is none that can be read."""
    try:
        return parse_membership(orjson.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, InvalidMembership) as error:
        _log.warning("ignoring %s: %s", path, error)
        return None

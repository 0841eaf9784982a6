"""Logs as one JSON object a line, with a reference to the object they are about and never with a secret.

Code logs through the standard library and passes facts in `extra`; this module decides how the lines look. A token
that slips into a message, an extra field or a traceback is replaced before the line is written.
"""

import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from pythonjsonlogger.json import JsonFormatter

REDACTED = "[redacted]"
_SECRET = re.compile(
    r"(?i:bearer\s+)[\w.~+/=-]{8,}"  # an Authorization header
    # A JSON web token. What only begins like one is passed as a whole: a text of such beginnings would take for ever otherwise.
    r"|\beyJ[\w-]{5,}+(?P<token>\.[\w-]{5,}+\.[\w-]*)?"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_SECRET_FIELD = re.compile(r"(?i)(token|password|passwd|secret|authorization|private_?key)$")


def object_ref(kind: str, name: str, namespace: str | None = None, uid: str | None = None) -> dict[str, Any]:
    """For `extra=`: which Kubernetes object, or anything with a kind and a name, a line is about."""
    reference = {"kind": kind, "namespace": namespace, "name": name, "uid": uid}
    return {"object": {key: value for key, value in reference.items() if value}}


def redact(value: Any) -> Any:
    """The value with secrets replaced, in strings at any depth and in fields whose name announces one."""
    if isinstance(value, str):
        return _SECRET.sub(_replaced, value)
    if isinstance(value, dict):
        return {k: REDACTED if _SECRET_FIELD.search(str(k)) else redact(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [redact(item) for item in value]
    return value


def _replaced(found: re.Match[str]) -> str:
    return found[0] if found[0].startswith("eyJ") and found["token"] is None else REDACTED


_FOREIGN = ("settings", "k8s_ref", "k8s_skip")
"""What kopf hands to its own log formatters: whole objects, of which no line should be made."""


class _Formatter(JsonFormatter):
    """One line: time, level, logger and message first, then what was passed in `extra`."""

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        for field in _FOREIGN:
            log_data.pop(field, None)
        cleaned: dict[str, Any] = redact(log_data)
        return cleaned

    def add_fields(self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]) -> None:
        log_data["time"] = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        super().add_fields(log_data, record, message_dict)


def configure(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send every log of the process to `stream` (standard error) as JSON lines. Replaces handlers set before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter("%(message)s", exc_info_as_array=False))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # What is decided is on record at every level.
    logging.getLogger("trainyard.audit").setLevel(logging.INFO)
    # It tells of every event at level INFO, which is many times what we do.
    logging.getLogger("kopf").setLevel(max(logging.WARNING, root.level))

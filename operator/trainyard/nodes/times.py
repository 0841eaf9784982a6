"""Times as Kubernetes writes them."""

from datetime import UTC, datetime


def parse(text: object) -> datetime | None:
    """None for what is no time."""
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return None


def written(time: datetime) -> str:
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

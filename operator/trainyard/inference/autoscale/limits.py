"""The limits in force: those of the service, or of schedules that hold now or will by the time that a replica takes to start."""

from datetime import datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from trainyard.api.autoscaling import Autoscaling, Schedule
from trainyard.inference.autoscale.decide import Limits

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def in_force(autoscaling: Autoscaling, now: datetime, horizon: float) -> tuple[Limits, tuple[str, ...]]:
    """The limits, and what is wrong with schedules that cannot be followed. horizon: seconds that a replica takes to start."""
    times = (now, now + timedelta(seconds=horizon))
    holding, problems = [], []
    for each in autoscaling.schedules:
        zone = _zone(each.timezone)
        if zone is None:
            problems.append(f"schedule {each.name}: there is no time zone {each.timezone!r}, it is left out")
        elif any(holds(each, moment.astimezone(zone)) for moment in times):
            holding.append(each)
    least = max((each for each in holding if each.min_replicas is not None), key=_least, default=None)
    most = max((each for each in holding if each.max_replicas is not None), key=_most, default=None)
    minimum = _least(least) if least else autoscaling.min_replicas
    maximum = _most(most) if most else autoscaling.max_replicas
    words = (_name(least, "minReplicas"), _name(most, "maxReplicas"))
    if minimum > maximum:  # the minimum of one of them, the maximum of another
        maximum, words = minimum, (words[0], words[0])
    return Limits(minimum, maximum, *words), tuple(problems)


def holds(schedule: Schedule, local: datetime) -> bool:
    """Whether it holds at a wall-clock time of its own zone."""
    begin, end, clock = time.fromisoformat(schedule.start), time.fromisoformat(schedule.end), local.time()
    today, yesterday = _DAYS[local.weekday()], _DAYS[local.weekday() - 1]
    days = schedule.days or _DAYS
    if begin < end:
        return today in days and begin <= clock < end
    return (today in days and clock >= begin) or (yesterday in days and clock < end)


def _least(schedule: Schedule) -> int:
    return schedule.min_replicas or 0


def _most(schedule: Schedule) -> int:
    return schedule.max_replicas or 0


def _name(schedule: Schedule | None, field: str) -> str:
    return f"spec.autoscaling.schedules[{schedule.name}].{field}" if schedule else f"spec.autoscaling.{field}"


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None

"""How `dev.prometheus` tells families from series, and what it asks Prometheus to do."""

import pytest

from dev.prometheus import Target, configuration, family_of

_TYPES = {
    "wait_seconds": "histogram",
    "size": "summary",
    "jobs": "counter",
    "old_total": "counter",
    "pods_count": "gauge",
}


@pytest.mark.parametrize(
    ("series", "family"),
    [
        ("wait_seconds_bucket", "wait_seconds"),
        ("wait_seconds_sum", "wait_seconds"),
        ("wait_seconds_count", "wait_seconds"),
        ("wait_seconds_created", "wait_seconds"),
        ("size_sum", "size"),
        ("jobs_total", "jobs"),
        ("jobs_created", "jobs"),
        ("old_total", "old"),
        ("pods_count", "pods_count"),
        ("unknown", "unknown"),
    ],
)
def test_a_family_is_counted_once(series: str, family: str) -> None:
    assert family_of(series, _TYPES) == family


def test_a_target_may_need_a_token_and_an_authority() -> None:
    target = Target("10.0.0.1:8443", scheme="https", bearer_token="abc", labels={"node": "a"})
    job = configuration({"operator": target, "plain": "127.0.0.1:1"}, 0.5)["scrape_configs"]
    assert job[0]["authorization"] == {"credentials": "abc"}
    assert job[0]["static_configs"] == [{"targets": ["10.0.0.1:8443"], "labels": {"node": "a"}}]
    assert "authorization" not in job[1]


def test_the_interval_is_the_timeout_too_and_that_of_rules() -> None:
    times = configuration({}, 0.5)["global"]
    assert times == dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "500ms")

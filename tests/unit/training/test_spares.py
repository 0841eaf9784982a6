"""Places of workers on lost nodes that spares take over."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from trainyard.api.admission import JobAdmission, compact
from trainyard.training.spares import stood_in, without

NODES = [f"node-{number}" for number in range(6)]
PLACES = st.lists(st.sampled_from(NODES), min_size=1, max_size=8)


def a_place(workers: list[str], spares: list[str]) -> JobAdmission:
    roles = [compact("worker", workers), compact("ps", ["node-9"])] + ([compact("spare", spares)] if spares else [])
    return JobAdmission(epoch=1, queue="q", flavor="f", time=datetime(2026, 11, 23, tzinfo=UTC), roles=roles)


def nodes(place: JobAdmission) -> dict[str, list[str]]:
    return {role.name: role.nodes() for role in place.roles}


@given(PLACES, PLACES, st.sets(st.sampled_from(NODES)))
def test_spares_take_over_from_the_last_on_and_nobody_else_moves(
    workers: list[str], spares: list[str], lost: set[str]
) -> None:
    failed = [node for node in workers if node in lost]
    fit = [node for node in spares if node not in lost]
    found = stood_in(a_place(workers, spares), lost)
    if not failed or not fit:
        assert found is None
        return
    assert found is not None
    after, used = nodes(found), min(len(failed), len(fit))
    assert all(new == old for new, old in zip(after["worker"], workers, strict=True) if old not in lost)
    assert sum(node in lost for node in after["worker"]) == len(failed) - used
    assert after.get("spare", []) == fit[: len(fit) - used]
    assert sorted(n for n in after["worker"] + after.get("spare", []) if n not in lost) == sorted(
        [n for n in workers if n not in lost] + fit
    )
    assert after["ps"] == ["node-9"]


@given(PLACES, st.data())
def test_a_place_without_some_spares_keeps_the_others(spares: list[str], data: st.DataObject) -> None:
    gone = data.draw(st.sets(st.integers(0, len(spares) - 1), min_size=1))
    left = nodes(without(a_place(["node-0"], spares), gone)).get("spare", [])
    assert sorted(left) == sorted(node for index, node in enumerate(spares) if index not in gone)

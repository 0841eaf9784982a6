"""Writes the scorecard of faults: `python -m tests.faults.scorecard docs/faults.md`."""

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import fsum
from pathlib import Path

from tests.faults.catalogue import FAULTS, GROUPS, Fault, Group
from tests.faults.marks import Marked, marked_tests
from tests.faults.record import Outcome, read

_HEAD = """# Faults

<!-- Written by `make generate` from tests/faults/catalogue.py, the marks on the tests and tests/faults/recorded.json. -->

What strikes an operator of a datacentre, what Trainyard promises then, and whether it keeps the promise: each row is
injected by the tests that are named, and judged by them. On the simulation tier the whole operator runs on an API server in
memory that drops, repeats, delays, refuses and loses what it is told to; `tests/simulation/oracles.py` holds the judges that serve
for every fault, and the same list of questions is put to that API server and to a real one, so that it does not lie. A fault counts as
survived when at least one of its tests ran and none failed; the second table says how many ran on each tier.

`pytest --record-faults -m fault tests/simulation` runs those of a tier and records what came of them, and
`python -m tests.faults.scorecard docs/faults.md` writes this page.
"""


class Verdict(StrEnum):
    """What is known of a row."""

    SURVIVED = "survived"
    NOT_SURVIVED = "not survived"
    NOT_APPLICABLE = "not applicable"
    NOT_RUN = "not yet run"


@dataclass(frozen=True, slots=True)
class Line:
    """A row with what is known of it."""

    fault: Fault
    tests: tuple[Marked, ...]
    verdict: Verdict


def judged(fault: Fault, tests: Sequence[Marked], outcomes: Mapping[str, Outcome]) -> Line:
    """A row is survived when at least one of its tests ran, and none failed."""
    known = [outcomes[each.id] for each in tests if each.id in outcomes]
    if fault.not_applicable:
        verdict = Verdict.NOT_APPLICABLE
    elif fault.not_survived or any(each.failed for each in known):
        verdict = Verdict.NOT_SURVIVED
    else:
        verdict = Verdict.SURVIVED if known else Verdict.NOT_RUN
    return Line(fault, tuple(tests), verdict)


def page(tests: Iterable[Marked], outcomes: Mapping[str, Outcome]) -> str:
    """The whole page."""
    by_fault: dict[int, list[Marked]] = defaultdict(list)
    for test in tests:
        for number in test.faults:
            by_fault[number].append(test)
    lines = {number: judged(fault, by_fault[number], outcomes) for number, fault in FAULTS.items()}
    parts = [_HEAD, _sums(lines.values()), _tiers(by_fault, outcomes), *(_table(group, lines) for group in GROUPS)]
    return "\n".join(parts)


def _sums(lines: Iterable[Line]) -> str:
    count = Counter(line.verdict for line in lines)
    rows = "\n".join(f"| {verdict} | {count[verdict]} |" for verdict in Verdict)
    return f"| of {sum(count.values())} faults | |\n|---|---|\n{rows}\n"


def _tiers(by_fault: Mapping[int, Sequence[Marked]], outcomes: Mapping[str, Outcome]) -> str:
    tests = {each for found in by_fault.values() for each in found}
    rows = []
    for tier in ("unit", "simulation", "apiserver", "e2e"):
        mine = [each for each in tests if each.tier == tier]
        ran = [outcomes[each.id] for each in mine if each.id in outcomes]
        cases, seconds = sum(each.passed + each.failed for each in ran), fsum(each.seconds for each in ran)
        faults = {number for each in mine for number in each.faults}
        rows.append(f"| {tier} | {len(faults)} | {len(mine)} | {len(ran)} | {cases} | {seconds:.0f} |")
    head = "| tier | faults | tests | of which ran | cases | seconds |\n|---|---|---|---|---|---|\n"
    return head + "\n".join(rows) + "\n"


def _table(group: Group, lines: Mapping[int, Line]) -> str:
    head = f"## {group.title}\n\n| | fault | promise | | tests |\n|---|---|---|---|---|\n"
    return head + "\n".join(_row(lines[fault.number]) for fault in group.faults) + "\n"


def _row(line: Line) -> str:
    fault = line.fault
    why = fault.not_applicable or fault.not_survived
    verdict = f"**{line.verdict}**" if line.verdict is Verdict.NOT_SURVIVED else line.verdict
    tests = "<br>".join(f"{each.file} `{each.name.removeprefix('test_')}`" for each in line.tests)
    return f"| {fault.number} | {fault.what} | {fault.expected} | {verdict}{f': {why}' if why else ''} | {tests} |"


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.faults.scorecard docs/faults.md")
    Path(sys.argv[1]).write_text(page(marked_tests(), read()))


if __name__ == "__main__":
    main()

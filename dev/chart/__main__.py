"""The command line: `python -m dev.chart sync`."""

import sys

from dev.chart import CHART, REPOSITORY
from dev.chart.crds import sync
from dev.chart.document import with_table
from dev.chart.schema import schema_text
from dev.chart.values import documented

SCHEMA = CHART / "values.schema.json"
PAGE = REPOSITORY / "docs" / "chart.md"


def main(arguments: list[str]) -> int:
    """Write what is generated; returns the exit code."""
    if arguments != ["sync"]:
        print("usage: python -m dev.chart sync", file=sys.stderr)
        return 2
    for name in sync():
        print(f"helm/trainyard/files/crds/{name} is new")
    values = documented()
    SCHEMA.write_text(schema_text(values))
    PAGE.write_text(with_table(PAGE.read_text(), values))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

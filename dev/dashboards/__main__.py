"""Writes the chart's dashboards: `python -m dev.dashboards`."""

from dev.dashboards.catalogue import write

for name in write():
    print(f"helm/trainyard/files/dashboards/{name} is new")

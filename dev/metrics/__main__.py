"""Writes docs/metrics.md: `python -m dev.metrics`."""

from dev.chart import REPOSITORY
from dev.metrics.page import page

(REPOSITORY / "docs" / "metrics.md").write_text(page())

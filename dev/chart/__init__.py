"""What of the chart is generated: `python -m dev.chart sync` writes it, `make verify` sees that it is up to date.

Copies of the CRDs (`crds`), and from values.yaml with its comments (`values`) and the types of the values (`model`) the
schema that Helm checks (`schema`) and the table that people read (`document`).
"""

from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CHART = REPOSITORY / "helm" / "trainyard"

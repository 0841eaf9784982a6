"""Of the alerts about who tries what is not allowed, and about the audit trail."""

from tests.unit.alerting.case import Case, series


def _records(action: str) -> str:
    return series("audit_records_total", action=action)


CASES = (
    Case(
        "TrainyardTokensRefused",
        at="20m",
        fires={_records("TokenRefused"): "0+10x30"},
        quiet=({_records("TokenRefused"): "0+1x30"}, {_records("Admitted"): "0+100x30"}),
    ),
    Case(
        "TrainyardForgedReports",
        at="10m",
        fires={_records("Forged"): "0x5 1x20"},
        quiet=({_records("Forged"): "0x20"}, {_records("CallForbidden"): "0+1x20"}),
    ),
    Case(
        "TrainyardJobStrays",
        at="10m",
        fires={_records("Strayed"): "0x5 1x20"},
        quiet=({_records("Strayed"): "0x20"}, {_records("Forged"): "0x5 1x20"}),
    ),
    Case(
        "TrainyardPrivilegesRefused",
        at="30m",
        fires={_records("PrivilegesRefused"): "0+1x40"},
        quiet=({_records("PrivilegesRefused"): "0x10 2x40"}, {_records("PodsRefused"): "0+1x40"}),
    ),
    Case(
        "TrainyardAuditIncomplete",
        at="10m",
        fires={series("audit_records_lost_total"): "0x5 3x20"},
        quiet=({series("audit_records_lost_total"): "0x20"},),
    ),
    Case(
        "TrainyardAuditStalled",
        at="10m",
        fires={series("audit_stalled_seconds"): "0x2 0+60x20"},
        quiet=(
            {series("audit_stalled_seconds"): "0 0 45 0 0 45 0 0 45 0 0"},
            {series("audit_stalled_seconds"): "0x20"},
        ),
    ),
)

"""What the doctor says: one thing that is not as it should be, why that matters, and what to do."""

from enum import StrEnum

from pydantic import Field

from trainyard.api.meta import Model


class Severity(StrEnum):
    """How bad it is, the worst first."""

    PROBLEM = "problem"  # something does not work
    WARNING = "warning"  # it works, and is about to fail or not as somebody means it
    NOTE = "note"  # worth knowing; nothing has to be done


class Finding(Model):
    """One of them."""

    severity: Severity = Field(description="problem, warning or note.")
    about: str = Field(description="The part of the installation, or the object.")
    what: str = Field(description="What was found.")
    why: str = Field(description="Why it matters.")
    remedy: str = Field(description="What to do.")


class Feature(Model):
    """Something of Kubernetes that Trainyard depends on."""

    feature: str = Field(description="The feature.")
    used_for: str = Field(description="What Trainyard needs it for.")
    required: bool = Field(description="Whether nothing works without it.")
    there: bool = Field(description="Whether this cluster has it.")


class Report(Model):
    """All that the doctor says."""

    product: str = Field(description="Version of the command.")
    server: str = Field(description="Version of the API server; empty if it does not say.")
    findings: list[Finding] = Field(description="The worst first; empty if all is well.")
    features: list[Feature] = Field(description="What Trainyard depends on.")


def problem(about: str, what: str, why: str, remedy: str) -> Finding:
    return Finding(severity=Severity.PROBLEM, about=about, what=what, why=why, remedy=remedy)


def warning(about: str, what: str, why: str, remedy: str) -> Finding:
    return Finding(severity=Severity.WARNING, about=about, what=what, why=why, remedy=remedy)


def note(about: str, what: str, why: str, remedy: str) -> Finding:
    return Finding(severity=Severity.NOTE, about=about, what=what, why=why, remedy=remedy)


def shown(names: list[str], most: int = 5) -> str:
    """A few of them, and how many more."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

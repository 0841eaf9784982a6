"""What a TrainingJob's status takes over from its program's own words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from trainyard.api.training_job import Checkpoint
from trainyard.training.drafting import Drafting
from trainyard.training.observed import Report
from trainyard.training.pods import claim_name
from trainyard.training.progress import progress_of
from trainyard.training.reports import parse_last_words
from trainyard.training.results import told_result


class OfReports(Drafting):
    """Reports while it runs, and the last words of a pod."""

    def reported(self, report: Report) -> None:
        """Take over what rank 0 said."""
        progress = progress_of(report.body, self.fields["progress"], self.now)
        if self._goes_on_saving(report.body):
            progress = progress.model_copy(update={"warning": ""})
        self.set(progress=progress)
        self.durable(report.body)

    def last_words(self, body: Mapping[str, Any]) -> None:
        """Take over a worker's termination message: it is there even when reports were missed."""
        body = parse_last_words(body)
        said = {name: value for name, value in body.items() if value is not None}
        self._sight = replace(self._sight, said={**self._sight.said, **said}, said_at=self.now)
        self._rounds_told(body.get("restarted"))
        if "step" in body:
            self.set(progress=progress_of({**body, "phase": "done"}, self.fields["progress"], self.now))
        self.durable(body)

    def _goes_on_saving(self, body: Mapping[str, Any]) -> bool:
        """Whether a newer checkpoint than before was made, and nothing is wrong now."""
        known, told = self.fields["checkpoint"], body.get("checkpoint") or {}
        return not body.get("warning") and known is not None and int(told.get("step", 0)) > known.step

    def _rounds_told(self, told: Mapping[str, Any] | None) -> None:
        """Count the starts in the attempt's pods that no report told of."""
        if told is not None and told["round"] > self.round():
            self._restarted(told["round"] - self.round(), counts=told.get("counts", True))

    def durable(self, body: Mapping[str, Any]) -> None:
        """Take over what lies on the claim, from a report or a last message."""
        if (checkpoint := body.get("checkpoint")) and isinstance(checkpoint, Mapping):
            self.set(checkpoint=self._checkpoint(int(checkpoint["step"]), str(checkpoint["path"])[:1024]))
        claim = claim_name(self.job)
        if (result := body.get("result")) and isinstance(result, Mapping) and claim:
            self.set(result=told_result(result, claim, self.fields["result"]))
        if (first := body.get("firstStepAt")) and self.fields["first_step_time"] is None:
            self.set(first_step_time=datetime.fromisoformat(str(first)))

    def _checkpoint(self, step: int, path: str) -> Checkpoint:
        """One that is told again is as old as it was."""
        known: Checkpoint | None = self.fields["checkpoint"]
        if known is not None and (known.step, known.path) == (step, path):
            return known
        return Checkpoint(step=step, path=path, time=self.now)

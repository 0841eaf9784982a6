"""Of the alerts about callers and users who try what they may not, and about the audit trail."""

from itertools import count

from tests import builders as b
from tests.drills.drill import Drill
from tests.drills.ground import Ground
from tests.drills.voices import call, token_of

_GUESSES, _TEMPLATES = 60, 12
_PAST_A_QUIET_MINUTE = 75.0
"""Refusals are put on record when a minute has passed without another."""
_FORGED = {"attempt": 1, "phase": "training", "step": 999, "jobUid": "00000000-0000-0000-0000-000000000000"}
_OTHERS = "digits-0a1b2c3d/model/attempt-1/model.safetensors"


def _tokens_are_guessed(ground: Ground) -> None:
    ground.keeps(lambda: [call(ground, "/v1/progress", {}, f"guess-{number}") for number in range(_GUESSES)])


def _pod_speaks_for_another_job(ground: Ground) -> None:
    ground.lay_out()
    ground.job("liar")
    ground.until_phase("liar", "Running", 90)
    token = token_of(ground, ground.pods("liar")[0])
    ground.keeps(lambda: call(ground, "/v1/progress", _FORGED, token))


def _program_reads_another_jobs_files(ground: Ground) -> None:
    ground.lay_out()
    ground.job("curious")
    ground.until_phase("curious", "Running", 90)
    found = ground.get("TrainingJob", "curious")
    assert found is not None
    strayed = {"jobUid": found["metadata"]["uid"], "attempt": 1, "times": 2, "paths": [_OTHERS]}
    token = token_of(ground, ground.pods("curious")[0])
    ground.keeps(lambda: call(ground, "/v1/strays", strayed, token))


def _privileges_are_asked_for(ground: Ground) -> None:
    ground.lay_out()
    ground.kubectl("label", "namespace", ground.namespace, "pod-security.kubernetes.io/enforce=restricted")
    rounds = count(1)

    def ask() -> None:
        this = next(rounds)
        for number in range(_TEMPLATES):
            template = b.template(spec={"hostNetwork": True, "hostname": f"h{this}-{number}"})
            ground.job(f"root-{this}-{number}", template)

    ask()
    ground.keeps(ask, _PAST_A_QUIET_MINUTE)


def _volume_of_the_trail_is_full(ground: Ground) -> None:
    """/dev/full takes nothing, as a volume without room does."""
    ground.audit_file.unlink()
    ground.audit_file.symlink_to("/dev/full")
    ground.lay_out()
    ground.job("decides")


DRILLS = (
    Drill("TrainyardTokensRefused", _tokens_are_guessed, shows=("TokenRefused", '"from": {"127.0.0.1":')),
    Drill("TrainyardForgedReports", _pod_speaks_for_another_job, shows=("belongs to TrainingJob liar",)),
    Drill("TrainyardJobStrays", _program_reads_another_jobs_files, shows=("trainingjob/curious", _OTHERS)),
    Drill("TrainyardPrivilegesRefused", _privileges_are_asked_for, shows=("privilegesrefused/root-", "hostNetwork")),
    Drill("TrainyardAuditStalled", _volume_of_the_trail_is_full, shows=("No space left on device",)),
)

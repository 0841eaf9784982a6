"""Trainyard's trainer: the program inside a training pod, and three calls for a user's own script.

    import trainer
    trainer.report(step=120, loss=0.31)
    if trainer.checkpoint_requested(): ...
    trainer.checkpoint_saved("checkpoints/120", step=120)

Importing it costs a few milliseconds and imports neither torch nor numpy; see trainer.api for the calls.
"""

from trainer.api import checkpoint_requested, checkpoint_saved, report

__all__ = ["checkpoint_requested", "checkpoint_saved", "report"]

"""Who a job or a service was before it was restored from a backup: part of the status, which users may not write.

An object that is created anew gets a uid and a creation time of its own. What hangs on the old ones, its place in the queue and its
folder on the claim, is found by these.
"""

from pydantic import Field

from trainyard.api.meta import Model, PreciseTime


class Restored(Model):
    """Who it was where the backup was taken."""

    uid: str = Field(max_length=64, description="Its uid at first; the folder of a job on its claim is named after it.")
    since: PreciseTime = Field(
        description="When it was created at first: its age, and with it its place in the queue, counts from then."
    )
    taken: PreciseTime = Field(description="When the backup was taken.")

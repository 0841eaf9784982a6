"""Energy that this worker's GPU has drawn since the program began, by the counter in the GPU (Volta and later).

Read through NVML, the library that comes with NVIDIA's driver; without a GPU, or where the driver says no, nothing is measured and
nothing is guessed. The counter is of the whole GPU: workers of the job that share one have equal parts of it, and a part of a GPU that
is divided (MIG) is not measured. Whether other jobs share it only the operator knows, which leaves such measurements out.
"""

import ctypes
import hashlib
import logging
from collections.abc import Sequence
from typing import Any, Final

import torch

from trainer.group import WorkerGroup

log = logging.getLogger(__name__)

_LIBRARY: Final = "libnvidia-ml.so.1"
_MILLI: Final = 1000.0


class GpuEnergy:
    """Of one GPU. `open_meter` finds the worker's own."""

    def __init__(self, library: Any, handle: Any, uuid: str = "") -> None:
        """library: NVML, initialised. Raises OSError when the GPU does not count, or counts for others, too."""
        self._library, self._handle, self.uuid = library, handle, uuid
        if self._is_divided():
            raise OSError("the GPU is divided (MIG), and counts for all its parts together")
        self._first, self._sharers = self._read(), 1

    def joules(self) -> float:
        """This worker's part since this was made. Raises OSError when the driver does not answer."""
        return (self._read() - self._first) / _MILLI / self._sharers

    def meet(self, uuids: Sequence[int]) -> None:
        """uuids: of the GPUs of all workers."""
        self._sharers = max(1, list(uuids).count(number_of(self.uuid)))

    def _is_divided(self) -> bool:
        """A GPU that cannot be divided answers with an error."""
        now, later = ctypes.c_uint(), ctypes.c_uint()
        code = self._library.nvmlDeviceGetMigMode(self._handle, ctypes.byref(now), ctypes.byref(later))
        return not code and now.value == 1

    def _read(self) -> int:
        counted = ctypes.c_ulonglong()
        _check(self._library.nvmlDeviceGetTotalEnergyConsumption(self._handle, ctypes.byref(counted)))
        return counted.value


def open_meter(device: torch.device) -> GpuEnergy | None:
    """The meter of a worker's device; None where nothing counts."""
    if device.type != "cuda":
        return None
    try:
        library, handle = ctypes.CDLL(_LIBRARY), ctypes.c_void_p()
        _check(library.nvmlInit_v2())
        # By its uuid: CUDA and NVML may count the GPUs of a pod differently.
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}".encode()
        _check(library.nvmlDeviceGetHandleByUUID(uuid, ctypes.byref(handle)))
        return GpuEnergy(library, handle, uuid.decode())
    except (OSError, AttributeError) as error:
        log.info("energy is not measured: %s", error)
        return None


def number_of(uuid: str) -> int:
    """A GPU as a number that a sum in double precision leaves as it is; different for any two GPUs of a node."""
    return int.from_bytes(hashlib.sha256(uuid.encode()).digest()[:6], "big")


def open_together(group: WorkerGroup) -> GpuEnergy | None:
    """The meter of this worker, which knows how many of the job share its GPU. Every worker has to call it."""
    meter = open_meter(group.device)
    numbers = [0.0] * group.world_size
    if meter is not None:
        numbers[group.rank] = float(number_of(meter.uuid))
    found = group.sum(numbers)
    if meter is not None:
        meter.meet([int(each) for each in found])
    return meter


def together(meter: GpuEnergy | None) -> list[float]:
    """What this worker adds to a sum over all workers: its joules, and whether it has measured."""
    if meter is None:
        return [0.0, 0.0]
    try:
        return [meter.joules(), 1.0]
    except OSError:
        return [0.0, 0.0]


def _check(code: int) -> None:
    if code:
        raise OSError(f"NVML answered with error {code}")

"""Energy that this worker's GPU has drawn since the program began, by the counter in the GPU (Volta and later).

Read through NVML, the library that comes with NVIDIA's driver; without a GPU, or where the driver says no, nothing is measured and
nothing is guessed.
"""

import ctypes
import logging
from typing import Any, Final

import torch

log = logging.getLogger(__name__)

_LIBRARY: Final = "libnvidia-ml.so.1"
_MILLI: Final = 1000.0


class GpuEnergy:
    """Of one GPU. `open_meter` finds the worker's own."""

    def __init__(self, library: Any, handle: Any) -> None:
        """library: NVML, initialised. Raises OSError when the GPU does not count."""
        self._library, self._handle = library, handle
        self._first = self._read()

    def joules(self) -> float:
        """Since this was made. Raises OSError when the driver does not answer."""
        return (self._read() - self._first) / _MILLI

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
        return GpuEnergy(library, handle)
    except (OSError, AttributeError) as error:
        log.info("energy is not measured: %s", error)
        return None


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

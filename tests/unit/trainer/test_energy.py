"""Energy is measured by the GPU's own counter or not at all. NVML is played by an object that answers as the library does."""

import ctypes
from typing import Any

import pytest
import torch
from trainer.energy import GpuEnergy, open_meter, together


class Library:
    """NVML with one GPU."""

    def __init__(self, *millijoules: int, error: int = 0) -> None:
        self.readings, self.error = list(millijoules), error

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: object, counted: Any) -> int:  # noqa: N802  the library's name
        if self.readings:
            counted._obj.value = self.readings.pop(0)
            return 0
        return self.error


def test_what_was_drawn_before_the_program_began_does_not_count() -> None:
    meter = GpuEnergy(Library(5_000_000, 5_250_500, 2**40 + 5_000_000), ctypes.c_void_p())
    assert meter.joules() == 250.5
    assert meter.joules() == pytest.approx(2**40 / 1000)


def test_a_gpu_that_does_not_count_is_refused_with_the_driver_s_word() -> None:
    with pytest.raises(OSError, match="error 3"):
        GpuEnergy(Library(error=3), ctypes.c_void_p())


@pytest.mark.fault(95)
def test_without_a_gpu_nothing_is_measured_and_nothing_guessed() -> None:
    assert open_meter(torch.device("cpu")) is None
    assert together(None) == [0.0, 0.0]


@pytest.mark.fault(95)
def test_a_driver_that_falls_silent_takes_its_worker_out_of_the_measurement() -> None:
    meter = GpuEnergy(Library(1000, 3000, error=999), ctypes.c_void_p())
    assert together(meter) == [2.0, 1.0]
    assert together(meter) == [0.0, 0.0]

"""Energy is measured by the GPU's own counter or not at all. NVML is played by an object that answers as the library does."""

import ctypes
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from trainer import energy
from trainer.energy import GpuEnergy, number_of, open_meter, open_together, together
from trainer.group import WorkerGroup


class Library:
    """NVML with one GPU."""

    def __init__(self, *millijoules: int, error: int = 0, mig: int | None = None) -> None:
        self.readings, self.error, self.mig = list(millijoules), error, mig

    def nvmlDeviceGetMigMode(self, _handle: object, now: Any, later: Any) -> int:  # noqa: N802
        if self.mig is None:
            return 3  # not supported, as of most GPUs
        now._obj.value = later._obj.value = self.mig
        return 0

    def nvmlDeviceGetTotalEnergyConsumption(self, _handle: object, counted: Any) -> int:  # noqa: N802  the library's name
        if self.readings:
            counted._obj.value = self.readings.pop(0)
            return 0
        return self.error


def test_what_was_drawn_before_the_program_began_does_not_count() -> None:
    meter = GpuEnergy(Library(5_000_000, 5_250_500, 2**40 + 5_000_000), ctypes.c_void_p())
    assert meter.joules() == 250.5
    assert meter.joules() == pytest.approx(2**40 / 1000)


def test_a_gpu_that_is_divided_is_not_measured_as_if_it_were_one_s_own() -> None:
    with pytest.raises(OSError, match="MIG"):
        GpuEnergy(Library(5000, mig=1), ctypes.c_void_p())
    assert GpuEnergy(Library(5000, 9000, mig=0), ctypes.c_void_p()).joules() == 4.0


def test_workers_that_share_a_gpu_count_it_once_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three workers, of which two are on one GPU; each adds what the others have said."""
    uuids = ["GPU-a", "GPU-b", "GPU-a"]
    said = [float(number_of(each)) for each in uuids]
    measured = []
    for rank, uuid in enumerate(uuids):
        meter = GpuEnergy(Library(1000, 9000), ctypes.c_void_p(), uuid)
        monkeypatch.setattr(energy, "open_meter", lambda _device, meter=meter: meter)
        group = WorkerGroup(rank, 3, torch.device("cpu"))

        def summed(own: Sequence[float], rank: int = rank) -> list[float]:
            others = [0.0 if index == rank else each for index, each in enumerate(said)]
            return [a + b for a, b in zip(own, others, strict=True)]

        monkeypatch.setattr(WorkerGroup, "sum", lambda _self, own, summed=summed: summed(own))
        assert open_together(group) is meter
        measured.append(meter.joules())
    assert measured == [4.0, 8.0, 4.0]


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

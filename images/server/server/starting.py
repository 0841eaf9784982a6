"""From a folder to a model that is warm, and back to memory that is free."""

import ctypes
import gc
import time
from dataclasses import replace
from pathlib import Path

import torch

from server.compiling import compiled
from server.config import Settings
from server.language.serving import require_cache
from server.loading import load
from server.metrics import Metrics
from server.model import Model, prepare, warm_up


def read_model(folder: Path, digest: str | None, max_batch: int, settings: Settings, metrics: Metrics) -> Model:
    """Check, load and warm up the model in folder; blocks. Raises StartError."""
    started = time.perf_counter()
    loaded = prepare(load(folder, digest), settings.device, settings.threads)
    require_cache(loaded.module, loaded.raw_card, settings.language)
    loaded_at = time.perf_counter()
    model = compiled(loaded, max_batch) if settings.compile else loaded
    seconds = warm_up(model, max_batch)
    metrics.load_seconds.set(loaded_at - started)
    metrics.warm_up_seconds.set(time.perf_counter() - loaded_at)
    # Kernels are for the compute threads' number of torch threads, so the event loop is not to use them.
    return replace(model, warm_seconds=seconds if model is loaded else None)


def settle_memory() -> None:
    """Take what is there out of the garbage collector's rounds, which took 0.1 s each with torch among it; blocks."""
    gc.collect()
    gc.freeze()


def free_memory() -> None:
    """Hand the memory of models that nobody holds any more back to the device and to the kernel; blocks."""
    gc.unfreeze()
    settle_memory()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of the C library on Linux: it keeps freed pages otherwise
    if trim is not None:
        trim(0)

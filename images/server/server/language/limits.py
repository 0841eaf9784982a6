"""How much a language model may take, read from the environment once at start."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from server.errors import StartError
from server.language.blocks import blocks_for
from server.language.pages import CacheShape
from server.language.scheduler import StepLimits

_MOST_ON_CPU = 256 << 20
_SHARE_OF_GPU = 0.6
"""Of the memory that is free when the model is loaded."""


@dataclass(frozen=True)
class LanguageLimits:
    """block, running and budget as in StepLimits; cache_bytes of keys and values.

    None: what `running` sequences of a full context need, at most 256 MiB on a CPU, or 60 % of what is free on a GPU.
    """

    block: int = 16
    running: int = 64
    budget: int = 512
    cache_bytes: int | None = None

    def steps(self) -> StepLimits:
        return StepLimits(self.block, self.running, self.budget)

    def blocks(self, shape: CacheShape, context: int, dtype: torch.dtype, device: torch.device) -> int:
        """Blocks of the cache. Raises StartError where not even one sequence of a full context fits."""
        each = shape.block_bytes(self.block, dtype)
        one = blocks_for(context + 1, self.block)
        most = self.cache_bytes
        if most is None:
            most = _MOST_ON_CPU if device.type == "cpu" else int(_SHARE_OF_GPU * torch.cuda.mem_get_info(device)[0])
        count = min(most // each, one * self.running)
        if count < one:
            raise StartError(
                f"a key-value cache of {most} bytes holds {count} blocks; expected at least {one} blocks of {each} bytes "
                f"for one context of {context} tokens: raise TRAINYARD_CACHE_MIB"
            )
        return count


def language_limits(env: Mapping[str, str]) -> LanguageLimits:
    """Limits of the environment. Raises StartError naming the variable that is wrong."""
    running = _whole(env, "TRAINYARD_MAX_RUNNING", 64)
    budget = _whole(env, "TRAINYARD_STEP_TOKENS", max(512, running))
    if budget < running:
        raise StartError(
            f"TRAINYARD_STEP_TOKENS is {budget}; expected at least TRAINYARD_MAX_RUNNING, which is {running}"
        )
    mebibytes = _whole(env, "TRAINYARD_CACHE_MIB", 0)
    return LanguageLimits(
        block=_whole(env, "TRAINYARD_CACHE_BLOCK", 16),
        running=running,
        budget=budget,
        cache_bytes=mebibytes << 20 if mebibytes else None,
    )


def _whole(env: Mapping[str, str], name: str, default: int) -> int:
    text = env.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or int(text) < 1:
        raise StartError(f"{name} is {text!r}; expected a whole number of at least 1")
    return int(text)

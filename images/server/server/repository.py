"""The models of this server: which are loaded, which cannot be and why; loading and unloading while others serve.

Each model has a line and compute threads of its own. The same for all would let a slow model hold up the fast ones;
so the kernel shares the CPUs among them, and unloading ends the threads with the model.
Loads and unloads happen one after another. What is replaced or unloaded first answers those who are with it.

Where several servers share a repository behind one address, a request to load would reach one of them. So each follows
the folder by itself, and such requests are refused.
"""

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from server.batcher import Batcher
from server.card import card_fields
from server.config import Settings
from server.errors import BadRequest, NotFound, NotReady, RequestError, StartError
from server.folders import Mark, mark, models_in, require_no_pickles
from server.language.serving import started_language
from server.loading import CARD
from server.metrics import Metrics
from server.model import Model, on_gpu
from server.starting import free_memory, read_model
from server.state import Serving
from server.statistics import Statistics
from server.threads import Threads, compute_threads

_log = logging.getLogger(__name__)


class Availability(StrEnum):
    """States of the repository extension."""

    LOADING = "LOADING"
    READY = "READY"
    UNLOADING = "UNLOADING"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True)
class Entry:
    """One version of a model; serving is there when it is READY, a reason when it is UNAVAILABLE."""

    state: Availability
    reason: str = ""
    serving: Serving | None = None


class Repository:
    """Owned by one event loop. The versions of each name are kept lowest first."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._entries: dict[str, dict[str, Entry]] = {}
        self._marks: dict[str, Mark] = {}  # of what was last loaded, or tried to
        self._computing: dict[Serving, asyncio.Task[None]] = {}
        self._changing = asyncio.Lock()
        self.broken = asyncio.Event()  # a batcher died, which cannot happen

    @property
    def serving(self) -> list[Serving]:
        """All that may be asked, by name and version."""
        entries = [entry for name in sorted(self._entries) for entry in self._entries[name].values()]
        return [entry.serving for entry in entries if entry.serving is not None]

    @property
    def only(self) -> Serving | None:
        """What is served, where it is a single model."""
        serving = self.serving
        return serving[0] if len(serving) == 1 else None

    @property
    def empty(self) -> bool:
        return not self._entries

    def find(self, name: str, version: str | None = None) -> Serving:
        """The version asked for, or the highest that is ready. Raises NotFound, NotReady."""
        entries = self._entries.get(name)
        if entries is None:
            known = " or ".join(repr(known) for known in sorted(self._entries)) or "none: nothing is loaded"
            raise NotFound(f"model {name!r} is not here; expected {known}")
        if not version:
            ready = [entry.serving for entry in entries.values() if entry.serving is not None]
            if ready:
                return ready[-1]
            version = next(reversed(entries))
        entry = entries.get(version)
        if entry is None:
            expected = " or ".join(repr(version) for version in entries)
            raise NotFound(f"version {version!r} of model {name!r} is not here; expected {expected}")
        if entry.serving is None:
            raise NotReady(f"version {version!r} of model {name!r} is {entry.state}: {entry.reason}")
        return entry.serving

    def versions(self, name: str) -> list[str]:
        """Versions that are ready, lowest first."""
        return [serving.version for serving in self.serving if serving.name == name]

    def index(self, *, only_ready: bool = False) -> list[dict[str, str]]:
        """The repository extension's list."""
        return [
            {"name": name, "version": version, "state": entry.state, "reason": entry.reason}
            for name in sorted(self._entries)
            for version, entry in self._entries[name].items()
            if entry.state is Availability.READY or not only_ready
        ]

    def add(self, name: str, version: str, model: Model, threads: Threads) -> Serving:
        """Serve a model that is warm, in the place of what had this name and version. threads: whose first loaded it. Returns it."""
        serving = self._begin(name, version, model, threads)
        self._entries.setdefault(name, {})[version] = Entry(Availability.READY, serving=serving)
        self._tell()
        return serving

    async def load_all(self) -> None:
        """Serve what the repository's folder holds; a model that cannot be loaded has its reason in the index. Raises StartError."""
        found = await asyncio.to_thread(models_in, self._root())
        marks = await asyncio.to_thread(lambda: {name: mark(versions) for name, versions in found.items()})
        for name in [name for name in self._entries if name not in found]:
            async with self._changing:
                await self._take_away(name)
                del self._entries[name]
        for name, seen in marks.items():
            if self._marks.get(name) != seen:
                with suppress(RequestError):  # its reason is in the index
                    await self._load(name)
        self._marks = marks

    async def follow(self) -> None:
        """Look at the folder again and again until cancelled. While it cannot be read, what is there serves on."""
        while seconds := self._settings.repository_seconds:
            await asyncio.sleep(seconds)
            try:
                await self.load_all()
            except StartError as error:
                _log.warning("%s; serving on with what is loaded", error)

    async def load(self, name: str) -> None:
        """Make the versions served those in the folder. Raises NotFound, or BadRequest with what could not be loaded."""
        self._require_obedient()
        await self._load(name)

    async def _load(self, name: str) -> None:
        """A version that has not changed is left alone; one that fails to reload serves on as it was."""
        async with self._changing:
            try:
                found = (await asyncio.to_thread(models_in, self._root())).get(name)
            except StartError as error:
                raise NotReady(str(error)) from error
            if found is None:
                raise NotFound(f"model {name!r} is not in the repository")
            entries = self._entries.setdefault(name, {})
            for version in [version for version in entries if version not in found]:
                await self._retire(name, version)
            failures = [
                f"version {version}: {reason}"
                for version, folder in found.items()
                if (reason := await self._load_version(name, version, folder))
            ]
            self._entries[name] = {version: entries[version] for version in found}
            if not found:
                reason = f"model {name!r} has no version: expected folders named 1, 2, ..."
                self._entries[name] = {"": Entry(Availability.UNAVAILABLE, reason)}
                failures.append(reason)
            if failures:
                raise BadRequest(f"cannot load model {name!r}: {'; '.join(failures)}")

    async def unload(self, name: str) -> None:
        """Stop serving all versions of a model and free their memory. Raises NotFound, BadRequest."""
        self._require_obedient()
        async with self._changing:
            if name not in self._entries:
                raise NotFound(f"model {name!r} is not here")
            await self._take_away(name)

    async def _take_away(self, name: str) -> None:
        for version in list(self._entries[name]):
            if self._entries[name][version].serving is not None:
                await self._retire(name, version)
                self._entries[name][version] = Entry(Availability.UNAVAILABLE, "unloaded")
        await asyncio.to_thread(free_memory)

    async def close(self) -> None:
        """End all compute threads after what they are doing."""
        for serving in list(self._computing):
            await self._end(serving)

    def _root(self) -> Path:
        if self._settings.repository is None:
            raise BadRequest("this server has one model and no repository; set TRAINYARD_REPOSITORY to load others")
        return self._settings.repository

    def _require_obedient(self) -> None:
        """Raises BadRequest where the folder alone decides what is served."""
        self._root()
        if seconds := self._settings.repository_seconds:
            raise BadRequest(
                f"this server follows its repository: expected a change of the folder, which is looked at every {seconds:g} s"
            )

    async def _load_version(self, name: str, version: str, folder: Path) -> str:
        """Returns why it cannot be loaded; empty where it was."""
        entries = self._entries[name]
        before = entries.get(version)
        if before is None or before.serving is None:
            entries[version] = Entry(Availability.LOADING, "being loaded")
        limits = self._settings.limits_of(name)
        unchanged = None if before is None or before.serving is None else before.serving.model
        threads = self.threads()
        try:
            loop = asyncio.get_running_loop()
            model = await loop.run_in_executor(threads.first, self._read, folder, limits.max_batch, unchanged)
            if model is unchanged:
                threads.close(wait=False)
            else:
                self.add(name, version, model, threads)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one model must not harm the others
            threads.close(wait=False)
            reason = str(error) if isinstance(error, StartError) else f"{type(error).__name__}: {error}"
            if before is None or before.serving is None:
                entries[version] = Entry(Availability.UNAVAILABLE, reason)
            _log.warning("cannot load %s version %s: %s", name, version, reason)
            return reason
        if model is not unchanged:
            _log.info("loaded %s version %s, %s", name, version, model.card.digest)
            if before is not None and before.serving is not None:
                await self._finish(before.serving)
        return ""

    def threads(self) -> Threads:
        """For a model that is to be loaded. What is compiled is for all CPUs, and a GPU takes one batch after another."""
        settings = self._settings
        return compute_threads(settings.threads, side_by_side=not settings.compile and not on_gpu(settings.device))

    def _read(self, folder: Path, max_batch: int, unchanged: Model | None) -> Model:
        """The model in folder, or the one already there where the card is the same; in a thread."""
        try:
            require_no_pickles(folder)
        except OSError as error:
            raise StartError(f"cannot read {folder}: {error.strerror}") from error
        if unchanged is not None and card_fields(folder / CARD) == unchanged.raw_card:
            return unchanged
        return read_model(folder, None, max_batch, self._settings, self._metrics)

    def _begin(self, name: str, version: str, model: Model, threads: Threads) -> Serving:
        statistics = Statistics()
        metrics = self._metrics.of_model(statistics.waited)
        limits = self._settings.limits_of(name)
        batcher = Batcher(statistics.timed(model.infer), limits, metrics, threads, measured=model.warm_seconds)
        language = started_language(
            name, model.module, model.raw_card, self._settings, self._metrics.language, self._ended
        )
        serving = Serving(name, model, batcher, version, statistics, language=language)
        self._computing[serving] = asyncio.create_task(batcher.run())
        self._computing[serving].add_done_callback(self._ended)
        return serving

    def _ended(self, computing: asyncio.Task[None]) -> None:
        if not computing.cancelled():
            self.broken.set()

    async def _retire(self, name: str, version: str) -> None:
        """Nobody finds it any more; those who have found it are answered; then it is gone."""
        serving = self._entries[name][version].serving
        self._entries[name][version] = Entry(Availability.UNLOADING, "being unloaded")
        if serving is not None:
            await self._finish(serving)

    async def _finish(self, serving: Serving) -> None:
        await serving.in_use.idle()
        await self._end(serving)
        self._tell()

    async def _end(self, serving: Serving) -> None:
        computing = self._computing.pop(serving)
        computing.cancel()
        with suppress(asyncio.CancelledError):
            await computing
        await asyncio.to_thread(serving.batcher.close)
        if serving.language is not None:
            await serving.language.stop()

    def _tell(self) -> None:
        self._metrics.describe((serving.name, serving.model.card.digest) for serving in self.serving)

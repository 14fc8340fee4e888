"""Loads models when the daemon starts: those configured, and those loaded before.

1. Order: what ``preload`` names; then, with ``restore``, what was loaded when the last daemon
   ended, pinned models first, then the most recently used.
2. One at a time, and none while a load that a client waits for is in progress. A model that does
   not fit beside what is loaded is left out: nothing is evicted for it.
3. The set of loaded models is written when it changes (checked once a second) and when the daemon
   stops, so a killed daemon leaves what it had a second before.
4. Each attempt is written before it begins. A model during whose load two daemons died is not
   tried by a third, because a service manager would restart daemons forever. Loading it by hand
   once clears its attempts. A model that fails to load is not restored any more.
"""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from sire.errors import Cancelled, SireError
from sired.config.settings import DaemonSettings
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.operations import Operations, asked_by_daemon
from sired.scheduler.brain import Brain
from sired.scheduler.entities.instance import Loading, Ready, Stopping, Suspending, Waking
from sired.scheduler.events import LoadRequested
from sired.store.loaded import LoadedModels, Remembered
from sired.store.registry import Registry

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 2
# Seconds between two checks whether the loads that clients wait for are done.
LOOK_AGAIN_SECONDS = 0.1


class WarmStart:
    """Loads models at the start, and keeps the list of loaded models for the next daemon.

    Args:
        brain: knows what is loaded and what fits.
        conductor: samples memory.
        operations: loads models.
        registry: the registered models.
        file: the list that the last daemon left.
        settings: what to load.
    """

    def __init__(
        self,
        brain: Brain,
        conductor: Conductor,
        operations: Operations,
        registry: Registry,
        file: LoadedModels,
        settings: DaemonSettings,
    ) -> None:
        self._brain = brain
        self._conductor = conductor
        self._operations = operations
        self._registry = registry
        self._file = file
        self._settings = settings
        self._left: list[str] = []
        self._attempts: dict[str, int] = {}
        self._why_not: dict[str, str] = {}
        self._written: set[Remembered] = set()
        # One thread, so that what is written last is what stays.
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="loaded-models")
        self._task: asyncio.Task[None] | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why models that should be loaded are not."""
        unknown = [name for name in self._settings.preload if name not in self._registry.models]
        left_out = [item for item in self._why_not.items() if item[0] in self._registry.models]
        return (
            *(f"daemon.preload: no model {name!r} is registered" for name in unknown),
            *(f"{name} was not loaded at the start: {why}" for name, why in left_out),
        )

    def adopt(self, settings: DaemonSettings) -> None:
        """Apply new settings; ``preload`` takes effect at the next start."""
        self._settings = settings

    def start(self) -> None:
        """Begin loading."""
        left_behind = self._file.read()
        self._written = set(left_behind)
        wanted = self._wanted(left_behind)
        attempts = {entry.model: entry.attempts for entry in left_behind}
        self._attempts = {name: attempts[name] for name in wanted if attempts.get(name)}
        for name, count in self._attempts.items():
            if count >= MOST_ATTEMPTS:
                self._leave_out(
                    name, f"the daemon ended {count} times while loading it. Try: sire load {name}"
                )
        self._left = [name for name in wanted if name not in self._why_not]
        self._task = asyncio.get_running_loop().create_task(self._load_all())

    def _wanted(self, left_behind: list[Remembered]) -> list[str]:
        """The models to load, in order."""
        models = self._registry.models
        loaded = [entry.model for entry in left_behind if entry.model in models]
        loaded.sort(key=lambda name: not models[name].pinned)
        preload = [name for name in self._settings.preload if name in models]
        return list(dict.fromkeys([*preload, *(loaded if self._settings.restore else ())]))

    def stop(self) -> None:
        """Load nothing more, and write the list; call it before the workers are ended."""
        if self._task is None:
            return
        self._task.cancel()
        self._task = None
        if self._left:  # the first of them may be loading, and has not ended the daemon
            self._operations.cancel(asked_by_daemon(self._left[0]))
            self._attempts.pop(self._left[0], None)
        self._clear_attempts()
        if (now := self._as_it_is()) or self._written:
            self._writer.submit(self._file.write, now)
        self._writer.shutdown()

    def save(self) -> None:
        """Write the list if it has changed; to be called about once a second."""
        if self._task is None:
            return
        self._clear_attempts()
        if self._written != set(now := self._as_it_is()):
            self._written = set(now)
            self._writer.submit(self._file.write, now)

    def _clear_attempts(self) -> None:
        """Forget the attempts of models that are loaded by now."""
        for name in self._loaded():
            self._why_not.pop(name, None)
            if name not in self._left:
                self._attempts.pop(name, None)

    def _as_it_is(self) -> list[Remembered]:
        names = [*self._loaded(), *self._left] if self._settings.restore else []
        names = [name for name in [*names, *self._attempts] if name in self._registry.models]
        return [Remembered(name, self._attempts.get(name, 0)) for name in dict.fromkeys(names)]

    def _loaded(self) -> Iterator[str]:
        """The loaded models, most recently used first."""
        used = [
            (instance.state.last_used, instance.model.name)
            for instance in self._brain.fleet.instances.values()
            if isinstance(instance.state, Ready) and instance.accepting
        ]
        return (name for _, name in sorted(used, reverse=True))

    # Loading

    async def _load_all(self) -> None:
        while self._left:
            while self._others_load():  # noqa: ASYNC110 (many things end it)
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
            name = self._left[0]
            await self._count_attempt(name)
            try:
                await self._load(name)
            except Cancelled:  # it was unloaded or removed meanwhile
                pass
            except SireError as error:
                self._leave_out(name, error.message)
            self._attempts.pop(name, None)
            self._left.remove(name)
            self.save()

    def _others_load(self) -> bool:
        """Whether a load is in progress or waits for memory, or memory is being freed for one."""
        fleet = self._brain.fleet
        states = (instance.state for instance in fleet.instances.values())
        changing = Loading | Suspending | Waking | Stopping
        return bool(self._brain.loader.pending) or any(
            isinstance(state, changing) for state in states
        )

    async def _count_attempt(self, name: str) -> None:
        self._attempts[name] = self._attempts.get(name, 0) + 1
        now = self._as_it_is()
        self._written = set(now)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._file.write, now)

    async def _load(self, name: str) -> None:
        """Load a model if it fits beside the others and is not loaded by now.

        Raises:
            SireError: it cannot be loaded.
        """
        brain = self._brain
        model = brain.models.get(name)
        if model is None or brain.fleet.of(model):
            return
        self._conductor.sample()
        if not brain.loader.fits(model, self._operations.now()):
            self._leave_out(name, "it did not fit beside the loaded models.")
            return
        deadline = self._operations.now() + self._settings.load_timeout
        await self._operations.run(
            asked_by_daemon(name),
            name,
            lambda number: LoadRequested(number, name, None, deadline, patient=True),
        )

    def _leave_out(self, name: str, why: str) -> None:
        self._why_not[name] = why
        log.warning("%s was not loaded at the start: %s", name, why)

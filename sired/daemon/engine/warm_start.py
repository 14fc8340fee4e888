"""Loads models when the daemon starts: those it is told to, and those its forerunner had.

1. In this order: what ``preload`` names; then, with ``restore``, what was loaded when the last
   daemon ended, the pinned first, then what was used most recently.
2. One at a time, and none while a load that somebody waits for is going on. A model that does
   not fit beside what is loaded is left out: nothing ends for it.
3. What is loaded is written down when it changes, looked at once a second, and when the daemon
   stops; so a killed one leaves what it had a second before.
4. That a load begins is written down first. One during which two daemons died is not tried by a
   third, or whatever starts daemons again would do so for ever; to load it otherwise, once, makes
   it a model like any other again. One that fails is not loaded, and so not restored any more.
"""

import asyncio
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from sire.errors import Cancelled, SireError
from sired.config.settings import DaemonSettings
from sired.daemon.engine.conductor import Conductor
from sired.daemon.engine.replies import asked_by_daemon
from sired.scheduler.entities.instance import Loading, Ready, Stopping, Suspending, Waking
from sired.scheduler.instructions import Complete
from sired.store.loaded import LoadedModels, Remembered
from sired.store.registry import Registry

log = logging.getLogger(__name__)

MOST_ATTEMPTS = 2
# How soon to look again whether the loads that others wait for are done.
LOOK_AGAIN_SECONDS = 0.1


class WarmStart:
    """Loads what is to be there from the start, and remembers what is for the next one.

    Args:
        conductor: what loads models.
        registry: what models there are.
        file: what the last daemon left, and where to leave it for the next.
        settings: what to load.
    """

    def __init__(
        self,
        conductor: Conductor,
        registry: Registry,
        file: LoadedModels,
        settings: DaemonSettings,
    ) -> None:
        self._conductor = conductor
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
        """Why models are not there that should be."""
        unknown = [name for name in self._settings.preload if name not in self._registry.models]
        left_out = [item for item in self._why_not.items() if item[0] in self._registry.models]
        return (
            *(f"daemon.preload: no model {name!r} is registered" for name in unknown),
            *(f"{name} was not loaded at the start: {why}" for name, why in left_out),
        )

    def adopt(self, settings: DaemonSettings) -> None:
        """Go by these settings from now on; ``preload`` waits for the next start."""
        self._settings = settings

    def start(self) -> None:
        """Begin to load."""
        left_behind = self._file.read()
        self._written = set(left_behind)
        wanted = self._wanted(left_behind)
        attempts = {entry.model: entry.attempts for entry in left_behind}
        self._attempts = {name: attempts[name] for name in wanted if attempts.get(name)}
        for name, count in self._attempts.items():
            if count >= MOST_ATTEMPTS:
                self._leave_out(
                    name, f"the daemon ended {count} times during that. Try: sire load {name}"
                )
        self._left = [name for name in wanted if name not in self._why_not]
        self._task = asyncio.get_running_loop().create_task(self._load_all())

    def _wanted(self, left_behind: list[Remembered]) -> list[str]:
        """What to load, in order."""
        models = self._registry.models
        loaded = [entry.model for entry in left_behind if entry.model in models]
        loaded.sort(key=lambda name: not models[name].pinned)
        preload = [name for name in self._settings.preload if name in models]
        return list(dict.fromkeys([*preload, *(loaded if self._settings.restore else ())]))

    def stop(self) -> None:
        """Load nothing more, and write down what is loaded; to be called before it is ended."""
        if self._task is None:
            return
        self._task.cancel()
        self._task = None
        if self._left:  # the first of them may be loading, and has not ended the daemon
            self._conductor.cancel(asked_by_daemon(self._left[0]))
            self._attempts.pop(self._left[0], None)
        self._clear_attempts()
        if (now := self._as_it_is()) or self._written:
            self._writer.submit(self._file.write, now)
        self._writer.shutdown()

    def note(self) -> None:
        """Write down what is loaded if that has changed; to be called about once a second."""
        if self._task is None:
            return
        self._clear_attempts()
        if self._written != set(now := self._as_it_is()):
            self._written = set(now)
            self._writer.submit(self._file.write, now)

    def _clear_attempts(self) -> None:
        """Hold nothing against what is loaded by now."""
        for name in self._loaded():
            self._why_not.pop(name, None)
            if name not in self._left:
                self._attempts.pop(name, None)

    def _as_it_is(self) -> list[Remembered]:
        names = [*self._loaded(), *self._left] if self._settings.restore else []
        names = [name for name in [*names, *self._attempts] if name in self._registry.models]
        return [Remembered(name, self._attempts.get(name, 0)) for name in dict.fromkeys(names)]

    def _loaded(self) -> Iterator[str]:
        """The models that are loaded, the last used first."""
        used = [
            (instance.state.last_used, instance.model.name)
            for instance in self._conductor.brain.fleet.instances.values()
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
            except Cancelled:  # somebody unloaded it meanwhile, or removed it
                pass
            except SireError as error:
                self._leave_out(name, error.message)
            self._attempts.pop(name, None)
            self._left.remove(name)
            self.note()

    def _others_load(self) -> bool:
        """Whether a load is going on, or waits for memory, or memory is being freed for one."""
        brain = self._conductor.brain
        states = (instance.state for instance in brain.fleet.instances.values())
        changing = Loading | Suspending | Waking | Stopping
        return bool(brain.loader.pending) or any(isinstance(state, changing) for state in states)

    async def _count_attempt(self, name: str) -> None:
        self._attempts[name] = self._attempts.get(name, 0) + 1
        now = self._as_it_is()
        self._written = set(now)
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._writer, self._file.write, now)

    async def _load(self, name: str) -> None:
        """Load a model if it fits beside the others and is not there by now.

        Raises:
            SireError: it cannot be loaded.
        """
        brain, loop = self._conductor.brain, asyncio.get_running_loop()
        model = brain.models.get(name)
        if model is None or brain.fleet.of(model):
            return
        self._conductor.sample()
        if not brain.loader.fits(model, loop.time()):
            self._leave_out(name, "it did not fit beside the models that were there.")
            return
        loaded: asyncio.Future[None] = loop.create_future()

        def completed(_: Complete) -> None:
            if not loaded.done():
                loaded.set_result(None)

        def failed(error: SireError) -> None:
            if not loaded.done():
                loaded.set_exception(error)

        client, allowed = asked_by_daemon(name), self._settings.load_timeout
        self._conductor.load(client, name, None, allowed, completed, failed, patient=True)
        await loaded

    def _leave_out(self, name: str, why: str) -> None:
        self._why_not[name] = why
        log.warning("%s was not loaded at the start: %s", name, why)

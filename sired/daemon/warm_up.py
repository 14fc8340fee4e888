"""Has the zygote import ahead what the workers of registered models are going to need.

It happens in threads that are no tasks of the event loop: a daemon that is stopped meanwhile does
not wait for them.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable

from sire.spec import ModelSpec
from sired.devices.inventory import Inventory
from sired.runtimes.needs import runtimes_needed
from sired.workers.zygote.zygote import Zygote

# Runtimes whose frameworks standby workers have, as they may get any model.
_FOR_ANY_MODEL = ("pytorch",)

log = logging.getLogger(__name__)


class WarmUp:
    """Starts the zygote, and has it replaced when it has ended or has to import more.

    Args:
        loop: the event loop that the callbacks are called in.
        inventory: the devices, some of which may be given standby workers.

    Attributes:
        ready: the zygote has imported what was needed when it was started.
        when_ready: called each time that it is ready, or has imported more.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        zygote: Zygote,
        inventory: Inventory,
    ) -> None:
        self._loop = loop
        self._zygote = zygote
        self._inventory = inventory
        self.ready = False
        self.when_ready: list[Callable[[], None]] = []

    def start(
        self, models: Collection[ModelSpec], before: Callable[[], None] = lambda: None
    ) -> None:
        """Start the zygote for these models.

        Args:
            models: the registered models.
            before: is called first, in the thread; not for a system without GPUs.
        """
        arguments = models, before
        threading.Thread(target=self._start, args=arguments, name="warm-up", daemon=True).start()

    def need(self, model: ModelSpec) -> None:
        """Have the zygote import what a model needs besides."""
        threading.Thread(target=self._warm, args=((model,),), name="warm-up", daemon=True).start()

    def check(self) -> None:
        """Replace a zygote that has ended, unless it does again and again."""
        if self.ready and self._zygote.ended and not self._zygote.problem:
            log.error("the fork server has ended; starting another one")
            self.ready = False
            self.start(())

    def _start(self, models: Iterable[ModelSpec], before: Callable[[], None]) -> None:
        if self._inventory.can_lose:  # there are GPUs
            before()
        if any(device.standby for device in self._inventory.devices):
            self._zygote.need(_FOR_ANY_MODEL)
        self._warm(models)

    def _warm(self, models: Iterable[ModelSpec]) -> None:
        on_gpu = self._inventory.can_lose  # where there are GPUs, models are placed on them first
        needed = (runtimes_needed(model, on_gpu=on_gpu) for model in models)
        self._zygote.need(frozenset[str]().union(*needed))
        try:
            self._zygote.warm()
        except OSError as problem:
            log.error("the fork server did not start: %s", problem)  # noqa: TRY400
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self._loop.call_soon_threadsafe(self._is_ready)

    def _is_ready(self) -> None:
        self.ready = True
        for callback in self.when_ready:
            callback()

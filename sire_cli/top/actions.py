"""What is done with a model from the live view, without its keys having to wait for it."""

import math
import threading
import time
from collections.abc import Callable

from sire.client.connection import Connection
from sire.errors import SireError
from sire.paths import Paths
from sire.protocol.replies import TopReport
from sire.protocol.requests import Load, Pin, Request, Unload
from sire_cli.top.keys import ModelAction

SHOWN_SECONDS = 8.0


class ModelActions:
    """Carries out wishes in threads of their own, and says what came of the last.

    Args:
        paths: where the daemon is.
        changed: called from any thread whenever there is something else to say.
    """

    def __init__(self, paths: Paths, changed: Callable[[], object]) -> None:
        self._paths = paths
        self._changed = changed
        self._words = ""
        self._until = 0.0

    @property
    def words(self) -> str:
        """What is being done, or came of it a moment ago."""
        return self._words if time.monotonic() < self._until else ""

    def forget(self) -> None:
        """Say no more what came of a wish; one that is under way is still told of."""
        if self._until < math.inf:
            self._until = 0.0

    def do(self, action: ModelAction, model: str, report: TopReport) -> None:
        """Begin to do something with a model."""
        request, doing, done = _plan(action, model, report)
        self._say(f"{doing} {model}…", until=math.inf)
        # A daemon thread: who quits meanwhile has said what they want, and does not wait.
        threading.Thread(
            target=self._ask, args=(request, f"{done} {model}."), name="hands", daemon=True
        ).start()

    def _ask(self, request: Request, done: str) -> None:
        try:
            with Connection(self._paths, autostart=False) as connection:
                connection.ask(request)
        except SireError as problem:
            done = problem.message
        self._say(done, until=time.monotonic() + SHOWN_SECONDS)

    def _say(self, words: str, until: float) -> None:
        self._words, self._until = words, until
        self._changed()


def _plan(action: ModelAction, model: str, report: TopReport) -> tuple[Request, str, str]:
    """What to ask for, and how to say that it is under way, and done."""
    if action is ModelAction.LOAD:
        return Load(name=model), "Loading", "Loaded"
    if action is ModelAction.UNLOAD:
        return Unload(name=model), "Unloading", "Unloaded"
    if any(one.pinned for one in report.stats.models if one.model == model):
        return Pin(name=model, pinned=False), "Unpinning", "Unpinned"
    return Pin(name=model), "Pinning", "Pinned"

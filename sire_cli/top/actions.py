"""Actions on models from the live view, executed in the background."""

import math
import threading
import time
from collections.abc import Callable

from sire.errors import SireError
from sire.protocol.replies import TopReport
from sire.protocol.requests import Load, Pin, Request, Unload
from sire_cli.daemon_connection import connect
from sire_cli.top.keys import ModelAction

SHOWN_SECONDS = 8.0


class ModelActions:
    """Executes actions in background threads and keeps the message of the last one.

    Args:
        changed: called from any thread whenever the message changes.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self._changed = changed
        self._message = ""
        self._until = 0.0

    @property
    def message(self) -> str:
        """The progress or the result of the last action; "" once it has expired."""
        return self._message if time.monotonic() < self._until else ""

    def dismiss(self) -> None:
        """Clear the result of a finished action; the message of a running one remains."""
        if self._until < math.inf:
            self._until = 0.0

    def start(self, action: ModelAction, model: str, report: TopReport) -> None:
        """Start an action on a model."""
        request, doing, done = _request(action, model, report)
        self._show(f"{doing} {model}…", until=math.inf)
        # A daemon thread: quitting the view must not wait for the action.
        threading.Thread(
            target=self._execute, args=(request, f"{done} {model}."), name="action", daemon=True
        ).start()

    def _execute(self, request: Request, done: str) -> None:
        try:
            with connect(autostart=False) as connection:
                connection.ask(request)
        except SireError as problem:
            done = problem.message
        self._show(done, until=time.monotonic() + SHOWN_SECONDS)

    def _show(self, message: str, until: float) -> None:
        self._message, self._until = message, until
        self._changed()


def _request(action: ModelAction, model: str, report: TopReport) -> tuple[Request, str, str]:
    """The request for an action, and the verbs for its progress and its result."""
    if action is ModelAction.LOAD:
        return Load(name=model), "Loading", "Loaded"
    if action is ModelAction.UNLOAD:
        return Unload(name=model), "Unloading", "Unloaded"
    if any(one.pinned for one in report.stats.models if one.model == model):
        return Pin(name=model, pinned=False), "Unpinning", "Unpinned"
    return Pin(name=model), "Pinning", "Pinned"

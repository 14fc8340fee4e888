"""Finds models that keep state between requests, by what their first requests change in them."""

import logging
from typing import Any

from sired.runtimes.base import InferenceRuntime
from sired.runtimes.support.state import changed

log = logging.getLogger("sired.worker")

# The first pass may fill caches; what the next two change as well is state.
_PASSES = 3
_NAMED = 3


class StateWatch:
    """Compares what a model remembers after each of its first passes.

    Nothing is run for it. A change is reported, not prevented: it may be meant, or not matter.

    Attributes:
        active: whether ``after_pass`` has to be called after the next pass.
    """

    def __init__(self, runtime: InferenceRuntime, model: Any) -> None:
        self._runtime, self._model = runtime, model
        self._passes = 0
        self._before: Any = None
        self._suspects: set[str] | None = None
        self._note = ""
        self.active = True
        if written := runtime.writes_state(model):
            self._report(written)

    def after_pass(self) -> None:
        """Look at the model after a pass; never raises."""
        self._passes += 1
        try:
            now = self._runtime.state(self._model)
            if now is None:
                self._end()
                return
            if self._before is not None:
                found = set(changed(self._before, now))
                self._suspects = found if self._suspects is None else self._suspects & found
        except Exception as problem:  # attributes of any class, with code of their own
            log.debug("what the model remembers is not known: %s", problem)
            self._end()
            return
        self._before = now
        if self._suspects is not None and not self._suspects:
            self._end()
        elif self._passes == _PASSES:
            self._report(sorted(self._suspects or ()))

    def forget(self) -> None:
        """Compare with the next pass: sire itself has moved the model's memory."""
        self._before = None

    def take_note(self) -> str:
        """What there is to be said, once; "" for nothing."""
        note, self._note = self._note, ""
        return note

    def _report(self, names: Any) -> None:
        more = " …" if len(names) > _NAMED else ""
        self._note = (
            f"It keeps state between requests ({', '.join(names[:_NAMED])}{more}), which all "
            "clients share: an answer may depend on earlier requests. A lease keeps an instance "
            "to one client."
        )
        self._end()

    def _end(self) -> None:
        self.active, self._before = False, None

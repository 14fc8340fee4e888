"""An event loop that stays awake while much is going on."""

import asyncio
import selectors
from functools import partial

from sire.transport.busy_polling import BusyPolling

# To fall asleep and be woken takes as long as all that the daemon does for a request. A client
# asks again, and a small model answers, well within this.
SHORT_SECONDS = 300e-6
# One short wait says little: between a client and a larger model every other one is long, and
# who stays awake then takes a processor from the model.
IN_A_ROW = 2


class BusyPollingSelector(selectors.EpollSelector):
    """A selector that begins a wait awake when the last ones were short.

    An idle daemon sleeps; so does one whose requests come a millisecond apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self._busy_polling = BusyPolling(SHORT_SECONDS, IN_A_ROW)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events as any selector does."""
        ready = self._busy_polling.poll(partial(super().select, 0), timeout)
        ready = ready or super().select(timeout)
        self._busy_polling.end()
        return ready


def attentive_loop() -> asyncio.AbstractEventLoop:
    """An event loop with such a selector."""
    return asyncio.SelectorEventLoop(BusyPollingSelector())

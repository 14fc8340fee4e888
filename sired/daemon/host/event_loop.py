"""An event loop that busy-polls while requests follow each other closely."""

import asyncio
import selectors
from functools import partial

from sire.transport.busy_polling import BusyPolling

# Falling asleep and being woken takes as long as everything else the daemon does for a request. A
# client sends its next request, and a small model answers, well within this time.
SHORT_SECONDS = 300e-6
# One short wait proves little: between a client and a larger model every other wait is long, and
# polling then takes a processor from the model.
IN_A_ROW = 2


class BusyPollingSelector(selectors.EpollSelector):
    """A selector that starts a wait by polling if the previous waits were short.

    An idle daemon sleeps, and so does one whose requests arrive a millisecond apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self._busy_polling = BusyPolling(SHORT_SECONDS, IN_A_ROW)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for events, as every selector does."""
        ready = self._busy_polling.poll(partial(super().select, 0), timeout)
        ready = ready or super().select(timeout)
        self._busy_polling.end()
        return ready


def busy_polling_loop() -> asyncio.AbstractEventLoop:
    """Create an event loop with a ``BusyPollingSelector``."""
    return asyncio.SelectorEventLoop(BusyPollingSelector())

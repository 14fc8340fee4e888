"""A slot of the scheduler, which is held while a program answers one request."""

import asyncio
from dataclasses import dataclass

from sire.client.aio.connection import AsyncConnection
from sire.errors import SireError
from sire.protocol.replies import SlotTaken
from sire.protocol.requests import FreeSlot, TakeSlot


@dataclass(slots=True)
class HeldSlot:
    """A slot that is held, and what the request in it has sent and received so far, in bytes.

    Attributes:
        url: where the program serves, without a path.
        error: what went wrong; "" for nothing.
    """

    daemon: AsyncConnection
    model: str
    number: int
    url: str
    bytes_in: int = 0
    bytes_out: int = 0
    error: str = ""

    def free(self) -> None:
        """Give the slot back, without waiting until that is done."""
        request = FreeSlot(
            slot=self.number,
            bytes_in=self.bytes_in,
            bytes_out=self.bytes_out,
            error=self.error,
        )
        task = asyncio.ensure_future(_ask(self.daemon, request))
        _freeing.add(task)
        task.add_done_callback(_freeing.discard)


# The event loop itself keeps only weak references to tasks.
_freeing: set[asyncio.Task[None]] = set()


async def take_slot(daemon: AsyncConnection, request: TakeSlot) -> HeldSlot:
    """Wait for a slot; cancelling this withdraws the request for it.

    Raises:
        SireError: the model cannot be loaded or is not a program, or no slot is free in time.
    """
    taken = await daemon.expect(SlotTaken, request)
    return HeldSlot(daemon, request.model, taken.slot, taken.url)


async def _ask(daemon: AsyncConnection, request: FreeSlot) -> None:
    try:
        await daemon.ask(request)
    except SireError:
        return  # the daemon is gone, and the slot with it

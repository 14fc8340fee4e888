"""What somebody waits for while the brain and the workers are at it."""

from collections.abc import Callable
from typing import Any

import msgspec

from sire.errors import SireError
from sire.protocol.content import Buffer
from sire.protocol.requests import Predict
from sired.daemon.engine.result_cache import CacheKey
from sired.server.front import Client


class PendingPrediction(msgspec.Struct, frozen=True):
    """A prediction that has no answer yet; ``question`` where its answer is to be kept."""

    client: Client
    predict: Predict
    payload: tuple[Buffer, ...]
    arrived: float
    question: CacheKey | None = None


class PendingOperation(msgspec.Struct, frozen=True):
    """A load, unload or lease that somebody waits for, and how to tell what became of it.

    Without ``failed`` the client is told.
    """

    client: Client
    model: str
    completed: Callable[[Any], None]
    failed: Callable[[SireError], None] | None = None

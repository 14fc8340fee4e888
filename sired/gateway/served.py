"""The models that the gateway serves, and the daemon that has them."""

import math
import time

from sire.client.aio.connection import AsyncConnection
from sire.errors import ModelNotFound
from sire.keys import ApiKey
from sire.nearest import did_you_mean
from sire.protocol.aliases import Resolve
from sire.protocol.replies import InstanceInfo, ModelInfo, ModelList
from sire.protocol.requests import ListModels, Load, Show
from sire.spec import Signature

# A model that is registered anew is known after this long.
_KNOWN_SECONDS = 1.0


class ServedModels:
    """All registered models, or those that were named.

    Args:
        daemon: the connection to the daemon.
        names: the models to serve; empty for all.
    """

    def __init__(self, daemon: AsyncConnection, names: tuple[str, ...] = ()) -> None:
        self.daemon = daemon
        self.names = names
        self._restricted: dict[tuple[str, ...], ServedModels] = {}
        self._signatures: dict[str, tuple[float, Signature]] = {}
        self._known: dict[str, tuple[float, ModelInfo]] = {}
        self._names: tuple[float, frozenset[str]] = (-math.inf, frozenset())

    def check(self, name: str) -> str:
        """The name of a model, which is served.

        Raises:
            ModelNotFound: only others are.
        """
        if self.names and name not in self.names:
            raise ModelNotFound(
                f"No model {name!r} is served here.",
                hint=did_you_mean(name, self.names) + f"Served are: {', '.join(self.names)}.",
                model=name,
            )
        return name

    def allowed_to(self, key: ApiKey | None) -> "ServedModels":
        """Those that a key may use; None if no key is demanded."""
        return self.restricted(key.models) if key is not None and key.models else self

    def restricted(self, names: tuple[str, ...]) -> "ServedModels":
        """Only those models among them that are named."""
        found = self._restricted.get(names)
        if found is None:
            served = tuple(name for name in names if not self.names or name in self.names)
            # A name that nothing has, since none means all.
            found = self._restricted[names] = ServedModels(self.daemon, served or ("",))
        return found

    async def show(self, name: str) -> ModelInfo:
        """One model and its state.

        Raises:
            ModelNotFound: it is not registered, or not served.
        """
        return await self.daemon.expect(ModelInfo, Show(name=self.check(name)))

    async def current(self, name: str) -> str:
        """The model of that name, or the one that an alias stands for now.

        Raises:
            ModelNotFound: it is not registered, or not served.
        """
        return (await self.known(name)).model.name

    async def signature(self, chosen: str) -> Signature:
        """The inputs and outputs of a model that has answered, as they were at most a second ago.

        Raises:
            ModelNotFound: it has been removed.
        """
        known = self._signatures.get(chosen)
        now = time.monotonic()
        if known is None or now - known[0] > _KNOWN_SECONDS:
            info = await self.daemon.expect(ModelInfo, Show(name=chosen))
            known = self._signatures[chosen] = (now, info.signature)
        return known[1]

    async def known(self, name: str) -> ModelInfo:
        """One model, as it was at most a second ago.

        Raises:
            ModelNotFound: it is not registered, or not served.
        """
        known = self._known.get(name)
        now = time.monotonic()
        if known is None or now - known[0] > _KNOWN_SECONDS:
            self._known.pop(name, None)
            known = self._known[name] = (now, await self.show(name))
        return known[1]

    async def choose(self, name: str, but: tuple[str, ...] = ()) -> ModelInfo:
        """The model for one request: the one of that name, or one of those of an alias.

        Args:
            name: of a model or an alias.
            but: models of the alias that have failed with this request.

        Raises:
            ModelNotFound: it is not registered, or not served.
        """
        known = await self.known(name)
        if known.model.name == name:
            return known
        return await self.daemon.expect(ModelInfo, Resolve(name=name, but=but))

    async def known_names(self, *, fresh: bool = False) -> frozenset[str]:
        """The names of all models and aliases that are served, now or a second ago."""
        now = time.monotonic()
        if fresh or now - self._names[0] > _KNOWN_SECONDS:
            self._names = now, frozenset(name for name, _ in await self.listed())
        return self._names[1]

    async def list(self) -> tuple[ModelInfo, ...]:
        """All models that are served, by name."""
        known = (await self.daemon.expect(ModelList, ListModels())).models
        return tuple(one for one in known if not self.names or one.model.name in self.names)

    async def listed(self) -> tuple[tuple[str, ModelInfo], ...]:
        """All models that are served, and after them aliases as the models that they stand for."""
        reply = await self.daemon.expect(ModelList, ListModels())
        by_name = {one.model.name: one for one in reply.models}
        standing = {one.alias.name: by_name.get(one.serves or "") for one in reply.aliases}
        return tuple(
            (name, info)
            for name, info in (*by_name.items(), *standing.items())
            if info is not None and (not self.names or name in self.names)
        )

    async def load(self, name: str) -> InstanceInfo:
        """Load a model now.

        Raises:
            SireError: it cannot be loaded.
        """
        return await self.daemon.expect(InstanceInfo, Load(name=self.check(name)))

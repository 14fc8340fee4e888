"""The models that the gateway serves, and the daemon that has them."""

from sire.client.aio.connection import AsyncConnection
from sire.errors import ModelNotFound
from sire.nearest import did_you_mean
from sire.protocol.replies import InstanceInfo, ModelInfo, ModelList
from sire.protocol.requests import ListModels, Load, Show


class ServedModels:
    """All registered models, or those that were named.

    Args:
        daemon: the connection to the daemon.
        names: the models to serve; empty for all.
    """

    def __init__(self, daemon: AsyncConnection, names: tuple[str, ...] = ()) -> None:
        self.daemon = daemon
        self.names = names

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

    async def show(self, name: str) -> ModelInfo:
        """One model and its state.

        Raises:
            ModelNotFound: it is not registered, or not served.
        """
        return await self.daemon.expect(ModelInfo, Show(name=self.check(name)))

    async def list(self) -> tuple[ModelInfo, ...]:
        """All models that are served, by name."""
        known = (await self.daemon.expect(ModelList, ListModels())).models
        return tuple(one for one in known if not self.names or one.model.name in self.names)

    async def load(self, name: str) -> InstanceInfo:
        """Load a model now.

        Raises:
            SireError: it cannot be loaded.
        """
        return await self.daemon.expect(InstanceInfo, Load(name=self.check(name)))

"""Requests and replies about aliases: other names for models, or for one of several."""

from typing import Annotated

import msgspec

from sire.protocol.message import Message

FAILOVER = "failover"
Weight = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
MOST_MODELS = 64


class WeightedModel(msgspec.Struct, frozen=True):
    """A model of an alias.

    Attributes:
        model: its name; it need not be registered yet.
        weight: its share of the requests, in proportion to the others; 0 for a fall-back, which
            is used only while none of those with a weight can serve.
    """

    model: str
    weight: Weight = 1.0


class Alias(msgspec.Struct, frozen=True):
    """A name for one of several models.

    Attributes:
        models: at least one, in order of preference.
        routing: which model gets a request, of those that can serve: "failover" for the first;
            "round-robin", "least-loaded", or a strategy of ``sire.routing``, by their weights.
    """

    name: str
    models: tuple[WeightedModel, ...]
    routing: str = FAILOVER


class AliasState(msgspec.Struct, frozen=True):
    """An alias now.

    Attributes:
        serves: the model that a request would get; None if none of them is registered.
        problems: why others cannot serve, by name.
    """

    alias: Alias
    serves: str | None
    problems: dict[str, str] = {}


class SetAlias(Message, frozen=True, tag="set_alias"):
    """Define an alias, or define it anew; reply: AliasList with this one."""

    alias: Alias


class RemoveAlias(Message, frozen=True, tag="remove_alias"):
    """Remove an alias; its models stay; reply: Done."""

    name: str


class ListAliases(Message, frozen=True, tag="aliases"):
    """List all aliases; reply: AliasList."""


class Resolve(Message, frozen=True, tag="resolve"):
    """Choose the model for one request; reply: ModelInfo.

    For the name of a model that is the model itself; for an alias it counts as a request.

    Attributes:
        but: models that are not to be chosen, since they have failed.
    """

    name: str
    but: tuple[str, ...] = ()


class AliasList(Message, frozen=True, tag="alias_list"):
    """Aliases, by name."""

    aliases: tuple[AliasState, ...]

"""What every message of the daemon's socket consists of."""

from typing import Annotated

import msgspec

PROTOCOL_VERSION = 1

Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="op"):
    """The fields of every message.

    Attributes:
        id: chosen by the client, returned with the reply.
        v: the protocol version.
    """

    id: str | int = ""
    v: int = PROTOCOL_VERSION


class PayloadReference(msgspec.Struct, frozen=True):
    """Names a payload that was passed over a connection of the second socket.

    Attributes:
        connection: the number that the daemon gave the connection.
        number: the number that the client gave the payload.
    """

    connection: int
    number: int

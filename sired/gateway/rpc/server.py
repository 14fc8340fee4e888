"""The server of gRPC beside that of HTTP: its limits, keys and certificate."""

from collections.abc import Iterable
from functools import partial
from typing import Any

import grpc
from grpc import aio

from sire.errors import InvalidConfiguration
from sire.keys import ApiKey
from sire.listening import Address, listen
from sired.gateway.errors import HttpError
from sired.gateway.keys import Keys
from sired.gateway.options import ServeOptions
from sired.gateway.rpc.calls import Caller, answer, answer_stream, refuse
from sired.gateway.rpc.methods import HANDLERS, REFUSED
from sired.gateway.rpc.schema import METHODS, SERVICE
from sired.gateway.rpc.streams import model_stream_infer
from sired.gateway.served import ServedModels

_OPTION = "--grpc"
_MOST_STREAMS = 128
_MILLISECONDS = 1000
# Clients that are gone, or never speak, are found out after this long.
_HANDSHAKE_SECONDS = 20
_PING_SECONDS = 60
_LEAST_PING_SECONDS = 10
# Load balancers call it without a key; it tells nothing of the models.
_OPEN = "ServerLive"


class _Service(grpc.GenericRpcHandler):
    """Finds the handler of a call, once its key has been checked."""

    def __init__(self, models: ServedModels, keys: Keys | None) -> None:
        self._models = models
        self._keys = keys
        self._for_all = {name: _handler(name, Caller(models, None)) for name in METHODS}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> "grpc.RpcMethodHandler[Any, Any] | None":
        """The handler of a call; None if there is no such method."""
        service, _, name = handler_call_details.method.removeprefix("/").partition("/")
        if service != SERVICE or not (name in METHODS or name in REFUSED):
            return None
        try:
            key = None if name == _OPEN else self._key(handler_call_details.invocation_metadata)
        except HttpError as error:
            return _refusal(error)
        if name in REFUSED:
            return _refusal(HttpError(501, REFUSED[name]))
        if key is None:
            return self._for_all[name]
        return _handler(name, Caller(self._models.allowed_to(key), key))

    def _key(self, metadata: Iterable[tuple[str, str | bytes]] | None) -> ApiKey | None:
        if self._keys is None:
            return None
        return self._keys.check((name.encode(), _bytes(value)) for name, value in metadata or ())


def _refusal(error: HttpError) -> "grpc.RpcMethodHandler[Any, Any]":
    """Takes a stream, so that no message is read before."""
    return grpc.stream_stream_rpc_method_handler(partial(refuse, error))


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _handler(name: str, caller: Caller) -> "grpc.RpcMethodHandler[Any, Any]":
    method = METHODS[name]
    read, write = method.request.FromString, method.response.SerializeToString
    if method.streams:
        behaviour = partial(answer_stream, model_stream_infer, caller)
        return grpc.stream_stream_rpc_method_handler(behaviour, read, write)
    return grpc.unary_unary_rpc_method_handler(partial(answer, HANDLERS[name], caller), read, write)


async def start(
    models: ServedModels, options: ServeOptions, address: Address
) -> tuple[aio.Server, Address]:
    """Serve models over gRPC until the server is stopped; returns it and its address.

    Args:
        models: what it serves.
        options: its keys and certificate.
        address: to listen on.

    Raises:
        InvalidConfiguration: the port is in use, or may not be used.
        DaemonUnavailable: no daemon runs, and none can be started.
    """
    probe, bound = listen(address, _OPTION)  # its errors say why; gRPC's do not
    probe.close()
    server = aio.server(
        options=[
            ("grpc.max_receive_message_length", await models.daemon.largest()),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", _MOST_STREAMS),
            ("grpc.so_reuseport", 0),
            ("grpc.server_handshake_timeout_ms", _HANDSHAKE_SECONDS * _MILLISECONDS),
            ("grpc.keepalive_time_ms", _PING_SECONDS * _MILLISECONDS),
            # Pings at shorter intervals end the connection.
            ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_SECONDS * _MILLISECONDS),
        ]
    )
    server.add_generic_rpc_handlers((_Service(models, options.keys),))
    try:
        if options.certificate is None or options.private_key is None:
            server.add_insecure_port(bound.authority)
        else:
            pair = options.private_key.read_bytes(), options.certificate.read_bytes()
            server.add_secure_port(bound.authority, grpc.ssl_server_credentials([pair]))
    except RuntimeError as problem:
        raise InvalidConfiguration(
            f"Cannot listen on {bound.authority}: {problem}.", hint="Try another port."
        ) from None
    await server.start()
    return server, bound

"""The least a server could take: a bare ZeroMQ echo of the same bytes."""

import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import zmq

_STOP = b"stop"
# A fresh interpreter, as a client has it, rather than a fork of one that has imported torch.
_SPAWN = multiprocessing.get_context("spawn")


class EchoClient:
    """A REQ socket that sends bytes and waits for them to come back."""

    def __init__(self, address: str) -> None:
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REQ)
        self._socket.connect(address)

    def ask(self, data: bytes) -> memoryview:
        """One round trip."""
        self._socket.send(data, copy=False)
        return self._socket.recv(copy=False).buffer

    def close(self) -> None:
        """Close the socket."""
        self._socket.close(linger=0)


@contextmanager
def echo_server() -> Iterator[str]:
    """A process that echoes whatever a REQ socket sends to the address yielded."""
    with tempfile.TemporaryDirectory(prefix="echo-") as directory:
        address = f"ipc://{directory}/echo.sock"
        process = _SPAWN.Process(target=_echo, args=(address,))
        process.start()
        try:
            yield address
        finally:
            client = EchoClient(address)
            client.ask(_STOP)
            client.close()
            process.join()


def _echo(address: str) -> None:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.ROUTER)
    socket.bind(address)
    stopping = False
    while not stopping:
        frames = socket.recv_multipart(copy=False)
        stopping = frames[-1].buffer == _STOP
        socket.send_multipart(frames, copy=False)
    socket.close(linger=1000)

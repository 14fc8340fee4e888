"""mosec, a model server with a front end in Rust: start one, and send requests to it.

It gets the settings that were fastest for it on the machine the README tells of: no batching but
where batches are what is measured, OpenMP's threads asleep early as in sire's workers, TCP over
the loopback device (it has no other front), and a client that does no more than write and read
one socket.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.workloads import Workload

START_SECONDS = 60.0

_ROOT = Path(__file__).parents[2]
_PYTHON = _ROOT / ".venv-peer/bin/python"
_HOST = "127.0.0.1"


class MosecClient:
    """HTTP/1.1 on a socket that stays open, with nothing between it and the caller."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((_HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data: bytes) -> memoryview:
        """One request.

        Raises:
            RuntimeError: the answer is no 200.
            ConnectionError: the server went away.
        """
        head = b"POST /inference HTTP/1.1\r\nhost: peer\r\ncontent-length: %d\r\n\r\n" % len(data)
        sent = self._socket.sendmsg([head, data])
        if sent < len(head) + len(data):
            self._socket.sendall(memoryview(data)[sent - len(head) :])
        return self._receive()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive(self) -> memoryview:
        received = self._more()
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        if not received.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"mosec answered {received!r}.")
        _, _, length = received[:end].partition(b"content-length: ")
        total = end + 4 + int(length.partition(b"\r")[0])
        while len(received) < total:
            received += self._more()
        return memoryview(received)[end + 4 :]

    def _more(self) -> bytes:
        if received := self._socket.recv(1 << 16):
            return received
        raise ConnectionError("mosec closed the connection.")


@contextmanager
def mosec_server(workload: Workload, weights: Path) -> Iterator[int]:
    """One worker with the workload's model on a port, which is yielded once it answers."""
    with tempfile.TemporaryDirectory(prefix="mosec-") as directory:
        port, log = _free_port(), Path(directory) / "log"
        process = _start(workload, weights, port, log)
        try:
            _wait_for_answer(process, port, workload.data, log)
            yield port
        finally:
            # Asked to leave it takes seconds; there is nothing here that it could lose.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(workload: Workload, weights: Path, port: int, log: Path) -> "subprocess.Popen[bytes]":
    if not _PYTHON.exists():
        sys.exit(f"There is no mosec in {_PYTHON.parents[1].name} to compare with: make peer")
    environment = {
        "GOMP_SPINCOUNT": "1000",  # what sire's zygote sets
        **os.environ,
        "PEER_MODEL": workload.class_name,
        "PEER_WEIGHTS": str(weights),
        "PEER_SHAPE": ",".join(str(length) for length in workload.shape),
        "PEER_BATCH": str(workload.batch),
    }
    options = f"--address {_HOST} --port {port} --log-level error --path {log.parent}/work"
    with log.open("wb") as output:
        return subprocess.Popen(
            [_PYTHON, "-m", "benchmarks.peers.mosec_server", *options.split()],
            cwd=_ROOT,
            env=environment,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


def _wait_for_answer(process: "subprocess.Popen[bytes]", port: int, data: bytes, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _answers(port, data):
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"mosec does not answer. It wrote:\n{log.read_text()}")
        time.sleep(0.05)


def _answers(port: int, data: bytes) -> bool:
    """Whether it answers; the front end starts before its worker, and returns 5xx until then."""
    try:
        client = MosecClient(port)
    except ConnectionRefusedError:
        return False
    try:
        client.ask(data)
    except (ConnectionError, RuntimeError):
        return False
    finally:
        client.close()
    return True


def _free_port() -> int:
    with socket.socket() as unbound:
        unbound.bind((_HOST, 0))
        return int(unbound.getsockname()[1])

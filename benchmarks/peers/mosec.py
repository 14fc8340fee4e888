"""mosec, a model server with a front end in Rust: start one, and send requests to it.

It gets the settings that were fastest for it on the machine the README tells of: no batching but
where batches are what is measured, OpenMP's threads asleep early as in sire's workers, TCP over
the loopback device (it has no other front), and a client that does no more than write and read
one socket.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks.http_client import HttpClient
from benchmarks.peers.process import Peer, free_port
from benchmarks.workloads import Workload


class MosecClient(HttpClient):
    """Sends input bytes as they are, and gets those of the answer."""

    def __init__(self, port: int) -> None:
        super().__init__(port, "/inference")


@contextmanager
def mosec_server(workload: Workload, weights: Path) -> Iterator[int]:
    """One worker with the workload's model on a port, which is yielded once it answers."""
    with tempfile.TemporaryDirectory(prefix="mosec-") as directory:
        port = free_port()
        options = f"--address 127.0.0.1 --port {port} --log-level error --path {directory}/work"
        peer = Peer("mosec", ".venv-peer", "benchmarks.peers.mosec_server", options.split())
        with peer.running(workload, weights, partial(_answers, port, workload.data)):
            yield port


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

"""A daemon that is only a lock and a socket, and says what it is told to."""

import fcntl
import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import zmq

from sire.paths import Paths, private_directory
from sire.protocol.framing import decode_request, encode


class StandIn(threading.Thread):
    """Holds the lock and answers each request with what ``answer`` makes of it."""

    def __init__(self, paths: Paths, answer: Callable[..., Any]) -> None:
        super().__init__(daemon=True)
        self.answer = answer
        private_directory(paths.runtime)
        self.lock = os.open(paths.lock, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.bind(f"ipc://{paths.socket}")
        self.stopping = threading.Event()
        self.start()

    def run(self) -> None:
        while not self.stopping.is_set():
            if self.socket.poll(10):
                peer, empty, header = self.socket.recv_multipart()
                request = decode_request(header)
                if (reply := self.answer(request)) is not None:
                    reply = msgspec.structs.replace(reply, id=request.id)
                    self.socket.send_multipart([peer, empty, encode(reply)])
        self.socket.close(linger=0)
        self.context.term()
        os.close(self.lock)

    def stop(self) -> None:
        self.stopping.set()
        self.join()

"""A client of HTTP servers that does no more than write and read one socket."""

import socket

_HOST = "127.0.0.1"
_END = b"\r\n\r\n"


class HttpClient:
    """HTTP/1.1 on a socket that stays open.

    Args:
        port: of the server on the loopback interface.
        path: that requests are posted to.
        headers: lines besides Host and Content-Length, each with its end.
    """

    def __init__(self, port: int, path: str, headers: str = "") -> None:
        self._head = f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}".encode()
        self._socket = socket.create_connection((_HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, data: bytes) -> memoryview:
        """Post a body; returns that of the response.

        Raises:
            RuntimeError: the status is not 200.
            ConnectionError: the server closed the connection.
        """
        return self.answer(data)[1]

    def answer(self, data: bytes) -> tuple[bytes, memoryview]:
        """Post a body; returns head and body of the response."""
        head = b"%bcontent-length: %d\r\n\r\n" % (self._head, len(data))
        sent = self._socket.sendmsg([head, data])
        if sent < len(head) + len(data):
            self._socket.sendall(memoryview(data)[max(0, sent - len(head)) :])
        return self._receive()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def _receive(self) -> tuple[bytes, memoryview]:
        received = self._more()
        while (end := received.find(_END)) < 0:
            received += self._more()
        head = received[:end].lower()
        if not head.startswith(b"http/1.1 200 "):
            raise RuntimeError(f"The server answered {received!r}.")
        _, _, length = head.partition(b"content-length: ")
        total = end + len(_END) + int(length.partition(b"\r")[0])
        while len(received) < total:
            received += self._more()
        return head, memoryview(received)[end + len(_END) :]

    def _more(self) -> bytes:
        if received := self._socket.recv(1 << 16):
            return received
        raise ConnectionError("The server closed the connection.")

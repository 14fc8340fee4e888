"""What the gateway refuses to read: other hosts, other sites, too much, or too slowly."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from sire.client.aio.connection import AsyncConnection
from sire.listening import Address, listen
from sired.gateway import body, limits, process
from sired.gateway.app import Gateway
from sired.gateway.options import ServeOptions
from sired.gateway.programs.forwarding import Forwarder
from sired.gateway.served import ServedModels
from tests.gateway.serving import Serving
from tests.home import Home

PATH = "/models/twice/predict"
ROWS = b"[[1, 2, 3, 4]]"


def sent(port: int, content: bytes) -> bytes:
    """What comes back until the other side closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=90) as connection:
        connection.sendall(content)
        received = b""
        with contextlib.suppress(ConnectionResetError):
            while chunk := connection.recv(1 << 16):
                received += chunk
        return received


@contextlib.contextmanager
def in_this_process(home: Home) -> Iterator[int]:
    """A gateway in a thread, so that its limits can be other ones; yields its port."""
    line, address = listen(Address("127.0.0.1", 0))
    stopping: list[Callable[[], object]] = []

    async def run() -> None:
        forwarder, loop = Forwarder(), asyncio.get_running_loop()
        gateway = Gateway(ServedModels(AsyncConnection(home.paths)), forwarder)
        server = process.GatewayServer(process.server_config(gateway, ServeOptions((address,))))
        stopping.append(lambda: loop.call_soon_threadsafe(server.end))
        await server._serve([line])
        await forwarder.close()

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    try:
        yield address.port
    finally:
        stopping[0]()
        thread.join()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8470", "127.0.0.1.evil.example", "192.168.0.1", "[::2]"]
)
def test_a_name_of_another_machine_is_refused(served: Serving, host: str) -> None:
    refused = served.post(PATH, ROWS, host=host)
    assert (refused.status, refused.error["code"]) == (403, "Forbidden")


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:80", "127.0.0.1", "127.1.2.3:1", "[::1]:8"]
)
def test_names_of_this_machine_are_taken(served: Serving, host: str) -> None:
    assert served.post(PATH, ROWS, host=host).status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://localhost:3000"])
def test_a_page_of_another_site_is_refused(served: Serving, origin: str) -> None:
    refused = served.post(PATH, ROWS, origin=origin)
    assert refused.status == 403
    assert "web page" in refused.error["message"]
    assert "access-control-allow-origin" not in refused.headers
    assert served.get("/v2", origin=origin).status == 403


def test_a_page_of_its_own_is_taken(served: Serving) -> None:
    assert served.post(PATH, ROWS, origin=served.url).status == 200


def test_headers_over_the_limit_are_refused(served: Serving) -> None:
    for line in (b"x: " + b"y" * (65 << 10), b"\r\n".join(b"a: b" for _ in range(2100))):
        answer = sent(
            served.port, b"GET /health HTTP/1.1\r\nhost: localhost\r\n" + line + b"\r\n\r\n"
        )
        assert answer.startswith(b"HTTP/1.1 431 "), answer[:100]
    long = b"GET /" + b"x" * (65 << 10) + b" HTTP/1.1\r\nhost: localhost\r\n\r\n"
    assert sent(served.port, long).startswith(b"HTTP/1.1 431 ")
    assert served.get("/health").status == 200


def test_what_is_not_http_is_refused_and_harms_nobody(served: Serving) -> None:
    for nonsense in (b"\0" * 100, b"\x16\x03\x01\x02\0\x01\0", b"GET\r\n\r\n"):
        assert sent(served.port, nonsense).startswith(b"HTTP/1.1 400 ")
    assert served.get("/health").status == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read(served: Serving) -> None:
    head = b"POST " + PATH.encode() + b" HTTP/1.1\r\nhost: localhost\r\n"
    answer = sent(served.port, head + b"content-length: 99999999999\r\n\r\n[")
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"increase max_message" in answer


@pytest.mark.own_daemon
def test_a_body_in_chunks_is_bounded_as_well(home: Home) -> None:
    home.configure("[daemon]\nmax_message = '1MiB'\n")
    with in_this_process(home) as port:
        chunk = b"100000\r\n" + b"x" * (1 << 20) + b"\r\n"
        head = b"POST /v2/repository/index HTTP/1.1\r\nhost: localhost\r\n"
        content = head + b"transfer-encoding: chunked\r\n\r\n" + chunk + b"1\r\nx\r\n"
        assert sent(port, content).startswith(b"HTTP/1.1 413 ")


def test_senders_that_are_too_slow_are_disconnected(
    served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "HEADER_SECONDS", 0.2)
    monkeypatch.setattr(body, "_BODY_SECONDS", 0.2)
    with in_this_process(served.home) as port:
        assert sent(port, b"") == b""
        assert sent(port, b"GET /health HTTP/1.1\r\nhost: loc") == b""
        head = b"POST " + PATH.encode() + b" HTTP/1.1\r\nhost: localhost\r\n"
        answer = sent(port, head + b"content-length: 100\r\n\r\n[")
        assert answer.startswith(b"HTTP/1.1 408 ")
        after = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\nGET"
        assert sent(port, after).startswith(b"HTTP/1.1 200 ")


def test_connections_over_the_limit_are_closed(
    served: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_CONNECTIONS", 2)
    with in_this_process(served.home) as port:
        two = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for connection in two:
            connection.sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        assert sent(port, b"") == b""
        for connection in two:
            connection.close()

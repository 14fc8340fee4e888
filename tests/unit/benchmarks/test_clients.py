"""What the benchmarks ask with, against real sockets and processes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from benchmarks.crowd import crowd
from benchmarks.floors import EchoClient, echo_server
from benchmarks.peers.mosec import MosecClient
from benchmarks.serving import agrees
from benchmarks.workloads import SMALL

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: 10\r\n"


@contextmanager
def server(*pieces: bytes) -> Iterator[int]:
    """A port whose first client gets these pieces, one after the other, then an end of file."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=answer, args=(listening, pieces))
        thread.start()
        yield listening.getsockname()[1]
        thread.join()


def answer(listening: socket.socket, pieces: tuple[Any, ...]) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert connection.recv(1 << 16).endswith(b"content-length: 4\r\n\r\nabcd")
        for piece in pieces:
            connection.sendall(piece)


@pytest.mark.parametrize(
    "pieces",
    [
        [HEAD + b"date: today\r\n\r\n0123456789"],
        [HEAD, b"\r", b"\n", b"01234", b"56789"],
        [bytes([byte]) for byte in HEAD + b"\r\n0123456789"],
    ],
    ids=["in one piece", "in a few", "byte by byte"],
)
def test_an_answer_over_http_is_its_body_in_however_many_pieces_it_comes(
    pieces: list[bytes],
) -> None:
    with server(*pieces) as port:
        client = MosecClient(port)
        assert bytes(client.ask(b"abcd")) == b"0123456789"
        client.close()


def test_an_error_over_http_is_no_answer() -> None:
    with server(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n") as port:
        client = MosecClient(port)
        with pytest.raises(RuntimeError, match="503"):
            client.ask(b"abcd")
        client.close()


def test_a_server_that_leaves_in_the_middle_of_an_answer_is_noticed() -> None:
    with server(HEAD + b"\r\n01234") as port:
        client = MosecClient(port)
        with pytest.raises(ConnectionError):
            client.ask(b"abcd")
        client.close()


def test_a_crowd_asks_as_long_as_it_is_told_and_again_when_it_is_told_again() -> None:
    with echo_server() as address, crowd(partial(EchoClient, address), b"data", 2) as clients:
        assert clients.rate(0.05) > 100
        assert clients.rate(0.05) > 100


def test_answers_agree_within_rounding_only() -> None:
    expected = SMALL.data
    assert agrees(expected, expected)
    assert not agrees(expected[:-4], expected)
    assert not agrees(bytes(len(expected)), expected)


def test_the_input_is_the_same_each_time_and_as_long_as_its_shape_says() -> None:
    assert SMALL.data == SMALL.data
    assert len(SMALL.data) == 4 * 768

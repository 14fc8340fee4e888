"""A program's chat through the door, beside the same program asked directly."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

from benchmarks.gateway.pace import TOKENS
from benchmarks.gateway.servers import gateway
from benchmarks.peers.process import free_port
from benchmarks.processes import sire_command
from benchmarks.report import Figure

TURNS = 5
STREAMS = 100
# What a token may take to begin with, and the part of the tokens that is to arrive.
FIRST_TOKEN_SECONDS = 3e-3
RATE = 0.95

_PROGRAM = "benchmarks.gateway.chat_program"
_MODEL = "chat"
_START_SECONDS = 30.0


def chat() -> Iterator[Figure]:
    """Time to the first token and tokens a second, with one stream and with a hundred."""
    command = f"{sys.executable} -m {_PROGRAM} {{port}}"
    options = ["--cmd", command, "--health", "/health", "--concurrency", str(STREAMS)]
    register = [sire_command(), "register", _MODEL, *options]
    subprocess.run(register, check=True, capture_output=True)
    with _program() as direct, gateway(grpc=False) as ours:
        ports = {"direct": direct, "gateway": ours.http}
        for streams in (1, STREAMS):
            yield from _measure(ports, streams)


def _measure(ports: dict[str, int], streams: int) -> Iterator[Figure]:
    firsts: dict[str, list[float]] = {name: [] for name in ports}
    rates: dict[str, list[float]] = {name: [] for name in ports}
    for turn in range(TURNS + 1):
        for name, port in ports.items():
            found = asyncio.run(_streams(port, streams))
            if turn:  # the first one loads the program
                firsts[name].append(median(first for first, _ in found))
                rates[name].append(median(rate for _, rate in found))
    what = f"a program's chat, {streams} stream{'s' if streams > 1 else ''}"
    first, rate = ({n: median(v) for n, v in each.items()} for each in (firsts, rates))
    yield Figure(
        f"{what}: to the first token, p50",
        first["gateway"],
        "s",
        first["direct"],
        goal=first["direct"] + FIRST_TOKEN_SECONDS,
    )
    yield Figure(
        f"{what}: tokens of each",
        rate["gateway"],
        "/s",
        rate["direct"],
        goal=RATE * rate["direct"],
        better="more",
    )


async def _streams(port: int, streams: int) -> list[tuple[float, float]]:
    """Of each stream, seconds to the first token, and tokens a second after it."""
    return await asyncio.gather(*(_stream(port) for _ in range(streams)))


async def _stream(port: int) -> tuple[float, float]:
    message = {"role": "user", "content": "Hi"}
    body = json.dumps({"model": _MODEL, "stream": True, "messages": [message]}).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began = time.perf_counter()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        await reader.readuntil(b"data:")
        first = time.perf_counter()
        for _ in range(TOKENS - 1):
            await reader.readuntil(b"data:")
        last = time.perf_counter()
    finally:
        writer.close()
    return first - began, (TOKENS - 1) / (last - first)


@contextmanager
def _program() -> Iterator[int]:
    """The program by itself, on a port, which is yielded once it listens."""
    port = free_port()
    with subprocess.Popen([sys.executable, "-m", _PROGRAM, str(port)]) as process:
        try:
            asyncio.run(_wait(port))
            yield port
        finally:
            process.kill()


async def _wait(port: int) -> None:
    async with asyncio.timeout(_START_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return

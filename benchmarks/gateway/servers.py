"""The gateway, and an HTTP echo of the same stack, each in a process of its own."""

import multiprocessing
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection as Line

# Longer than the turns of all others, as the gateway has it.
_KEEP_ALIVE_SECONDS = 75

_SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Gateway:
    """A running gateway: its process, and its ports for HTTP and gRPC; 0 for no gRPC."""

    pid: int
    http: int
    grpc: int


@contextmanager
def gateway(*, grpc: bool = True) -> Iterator[Gateway]:
    """`sire serve` for the daemon of SIRE_HOME."""
    command = [sys.executable, "-m", "sire_cli", "serve", "--listen", "127.0.0.1:0"]
    command += ["--grpc", "127.0.0.1:0"] if grpc else []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            ports = [
                int(port) for port in re.findall(r"127.0.0.1:(\d+)", process.stdout.readline())
            ]
            yield Gateway(process.pid, ports[0], ports[1] if grpc else 0)
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def http_echo() -> Iterator[int]:
    """A process that returns the body of each request, with Starlette on uvicorn; its port."""
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        line.listen(128)
        ours, theirs = _SPAWN.Pipe()
        process = _SPAWN.Process(target=_echo, args=(line, theirs), daemon=True)
        process.start()
        theirs.close()
        ours.recv()
        try:
            yield line.getsockname()[1]
        finally:
            process.kill()
            process.join()


def _echo(line: socket.socket, ready: Line) -> None:
    import uvicorn  # noqa: PLC0415 (in that process only)
    from starlette.applications import Starlette  # noqa: PLC0415
    from starlette.requests import Request  # noqa: PLC0415
    from starlette.responses import Response  # noqa: PLC0415
    from starlette.routing import Route  # noqa: PLC0415

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="application/octet-stream")

    config = uvicorn.Config(
        Starlette(routes=[Route("/echo", echo, methods=["POST"])]),
        http="httptools",
        loop="uvloop",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
    )
    line.setblocking(False)
    ready.send(None)
    uvicorn.Server(config).run(sockets=[line])

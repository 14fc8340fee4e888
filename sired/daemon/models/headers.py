"""Has the headers of model files read in processes of their own, with limits.

Parsing a file that is made for it takes seconds and gigabytes. In the daemon's own process that
would stall every request and could end it, so a few kept processes read (``header_process``). One
is ready from the start: a request to it takes a fraction of a millisecond.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import msgspec

from sire.errors import InvalidModel, SireError, error_from, shown
from sire.spec import ModelSpec
from sire.units import format_bytes
from sired.daemon.models.header_process import (
    CPU_SECONDS,
    LENGTH,
    MEMORY_BYTES,
    Exhausted,
    Files,
    HeaderReply,
    HeaderRequest,
    Inspect,
    Inspected,
    ListFiles,
    Rejected,
    Unreadable,
)
from sired.daemon.models.registration import inspect
from sired.store.content import content_files
from sired.store.formats import ONNX

# How long a file may take altogether: those on a network may have to be waited for.
PATIENCE_SECONDS = 60.0
# Processes that read at the same time; what comes beyond waits for one of them.
MOST_READERS = 4
# What a file may state of itself: names, inputs and outputs.
LARGEST_STATEMENT = 256 << 10
# A thousand paths of the greatest length.
_LARGEST_LIST = 8 << 20
_TURN_SECONDS = 4 * PATIENCE_SECONDS
_DECODER: msgspec.msgpack.Decoder[HeaderReply] = msgspec.msgpack.Decoder(HeaderReply)


class HeaderReaders:
    """A few processes that read headers; the methods block, and may be called in any thread.

    Args:
        cpu_seconds: of the processor, for one file.
        patience: seconds that one file may take altogether.
    """

    def __init__(self, cpu_seconds: int = CPU_SECONDS, patience: float = PATIENCE_SECONDS) -> None:
        self._cpu_seconds, self._patience = cpu_seconds, patience
        self._idle: list[_Reader] = []
        self._lock = threading.Lock()
        self._turns = threading.BoundedSemaphore(MOST_READERS)
        self._closed = False

    def start(self) -> None:
        """Start a process, so that the first request does not wait for it."""
        with contextlib.suppress(OSError):  # reported by the first request
            self._keep(self._new())

    def close(self) -> None:
        """End the processes that are idle; the others end with their request."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.end()

    def inspect(self, spec: ModelSpec) -> ModelSpec:
        """Determine a model's runtime, format, size and fingerprint.

        Raises:
            ModelNotFound: and InvalidModel, UntrustedModel: as ``registration.inspect``.
            InvalidModel: reading the file exceeds a limit.
        """
        if not spec.path:  # there is nothing to read; a server may be asked
            return inspect(spec)
        reply = self._ask(Inspect(spec), LARGEST_STATEMENT)
        assert isinstance(reply, Inspected)
        return reply.spec

    def files(self, spec: ModelSpec) -> list[Path]:
        """The files that determine what a model computes; see ``content.content_files``.

        Raises:
            InvalidModel: files are missing or damaged, or reading them exceeds a limit.
            OSError: a file cannot be read.
        """
        path = Path(spec.path)
        if spec.format != ONNX and not path.is_dir():  # no header is read
            return content_files(spec.format, path, spec.args)
        reply = self._ask(ListFiles(spec), _LARGEST_LIST)
        assert isinstance(reply, Files)
        return [Path(os.fsdecode(name)) for name in reply.paths]

    def _ask(self, request: HeaderRequest, largest: int) -> HeaderReply:
        name = request.spec.path
        with self._turn(name):
            reader = self._take()
            try:
                reply = reader.ask(request, largest)
            except BaseException:
                reader.end()
                raise
            if isinstance(reply, Exhausted):
                reader.end()
            else:
                self._keep(reader)
        match reply:
            case Exhausted():
                raise _refused(name, f"more than {format_bytes(MEMORY_BYTES)} of memory")
            case Rejected():
                raise error_from(reply.code, reply.message, reply.hint, dict(reply.details))
            case Unreadable():
                raise OSError(reply.number, reply.reason, name)
        return reply

    @contextlib.contextmanager
    def _turn(self, name: str) -> Iterator[None]:
        if not self._turns.acquire(timeout=_TURN_SECONDS):
            raise SireError(
                f"{shown(name)} was not read within {_TURN_SECONDS:g} s: {MOST_READERS} other "
                "files are being read.",
                hint="Try again in a moment.",
            )
        try:
            yield
        finally:
            self._turns.release()

    def _take(self) -> "_Reader":
        with self._lock:
            while self._idle:
                reader = self._idle.pop()
                if reader.alive:
                    return reader
                reader.end()
        try:
            return self._new()
        except OSError as problem:
            raise SireError(
                f"No process could be started to read the file: {problem.strerror}.",
                hint="Try again once other programs have ended.",
            ) from None

    def _new(self) -> "_Reader":
        return _Reader(self._cpu_seconds, self._patience)

    def _keep(self, reader: "_Reader") -> None:
        with self._lock:
            if not self._closed and not self._idle:
                self._idle.append(reader)
                return
        reader.end()


class _Reader:
    """One process; its limits are those of ``HeaderReaders``.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, cpu_seconds: int, patience: float) -> None:
        self._cpu_seconds, self._patience = cpu_seconds, patience
        self._process = subprocess.Popen(
            [sys.executable, "-m", "sired.daemon.models.header_process", str(cpu_seconds)],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[3],  # `-m` imports from here first: this installation
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._requests: IO[bytes] = self._process.stdin
        self._replies: IO[bytes] = self._process.stdout

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def ask(self, request: HeaderRequest, largest: int) -> HeaderReply:
        """The reply to a request.

        Args:
            request: what to read.
            largest: bytes that the reply may exceed the request by.

        Raises:
            InvalidModel: the file exceeds a limit.
        """
        content, name = msgspec.msgpack.encode(request), request.spec.path
        until = time.monotonic() + self._patience
        unsent = memoryview(LENGTH.pack(len(content)) + content)
        with contextlib.suppress(BrokenPipeError):  # the missing reply reports it
            while unsent:
                unsent = unsent[os.write(self._requests.fileno(), unsent) :]
        head = self._read(LENGTH.size, until, name)
        length = LENGTH.unpack(head)[0]
        if length > len(content) + largest:
            raise InvalidModel(
                f"{name} states {format_bytes(length - len(content))} about itself; the maximum "
                f"is {format_bytes(largest)}.",
                hint="Its header names too many inputs, outputs or files.",
            )
        return _DECODER.decode(self._read(length, until, name))

    def _read(self, size: int, until: float, name: str) -> bytes:
        """Read from the process; raises InvalidModel if it does not answer, or has ended."""
        found, descriptor = bytearray(), self._replies.fileno()
        poller = select.poll()
        poller.register(descriptor, select.POLLIN)
        while len(found) < size:
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                raise _refused(name, f"more than {self._patience:g} s")
            part = os.read(descriptor, size - len(found))
            if not part:
                raise self._ended(name)
            found += part
        return bytes(found)

    def _ended(self, name: str) -> InvalidModel:
        """The error of a file at which the process ended."""
        code = self._process.wait()
        if code == -signal.SIGXCPU:
            return _refused(name, f"more than {self._cpu_seconds} s of the processor")
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        return InvalidModel(
            f"{name} cannot be read: the process that parsed its header ended ({how}).",
            hint="The file is damaged, or memory is short.",
        )

    def end(self) -> None:
        """Kill the process."""
        self._process.kill()
        self._process.wait()
        self._requests.close()
        self._replies.close()


def _refused(name: str, limit: str) -> InvalidModel:
    return InvalidModel(
        f"{name} is not read: its header takes {limit}.",
        hint="The file is damaged, or made to exhaust what reads it.",
    )

"""The process that reads the headers of model files: one request after another, within limits.

A file that was downloaded may be made to fill memory or to keep a parser busy. It does so here:
the process ends, and the daemon reports which limit was exceeded. Only the daemon's own parsers
run, never code of the file.
"""

import contextlib
import gc
import os
import resource
import signal
import struct
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from sire.errors import InvalidModel, SireError
from sire.spec import ModelSpec
from sired.daemon.models.registration import inspect
from sired.store.content import content_files

# Address space: ten times what the index of a model with 100,000 tensors takes.
MEMORY_BYTES = 1 << 30
# Of the processor, for one request: a pickle of 80,000 tensors takes three seconds.
CPU_SECONDS = 15
LENGTH = struct.Struct("<I")


class Inspect(msgspec.Struct, frozen=True, tag=True):
    """Determine a model's runtime, format, size and fingerprint; see ``registration.inspect``."""

    spec: ModelSpec


class ListFiles(msgspec.Struct, frozen=True, tag=True):
    """List the files that determine what a model computes; see ``content.content_files``."""

    spec: ModelSpec


class Inspected(msgspec.Struct, frozen=True, tag=True):
    """The model, completed with what its file states."""

    spec: ModelSpec


class Files(msgspec.Struct, frozen=True, tag=True):
    """The paths of files; as bytes, because a name need not be valid text."""

    paths: tuple[bytes, ...]


class Rejected(msgspec.Struct, frozen=True, tag=True):
    """The error of a file that is not valid."""

    code: str
    message: str
    hint: str
    details: dict[str, str | int | float]


class Exhausted(msgspec.Struct, frozen=True, tag=True):
    """The file takes more memory than the limit; the process ends, as its memory is fragmented."""


class Unreadable(msgspec.Struct, frozen=True, tag=True):
    """The operating system cannot read a file."""

    number: int
    reason: str


HeaderRequest = Inspect | ListFiles
HeaderReply = Inspected | Files | Rejected | Exhausted | Unreadable


def serve(requests: BinaryIO, replies: BinaryIO, cpu_seconds: int) -> None:
    """Answer requests until the input ends, or a file takes too much memory."""
    decoder = msgspec.msgpack.Decoder(HeaderRequest)
    while len(head := requests.read(LENGTH.size)) == LENGTH.size:
        request = decoder.decode(requests.read(LENGTH.unpack(head)[0]))
        _allow_processor(cpu_seconds)
        reply = _answer(request)
        content = msgspec.msgpack.encode(reply)
        replies.write(LENGTH.pack(len(content)) + content)
        replies.flush()
        if isinstance(reply, Exhausted):
            return
        gc.collect()


def _answer(request: HeaderRequest) -> HeaderReply:
    spec = request.spec
    try:
        if isinstance(request, Inspect):
            return Inspected(inspect(spec))
        found = content_files(spec.format, Path(spec.path), spec.args)
        return Files(tuple(map(os.fsencode, found)))
    except MemoryError:
        return Exhausted()
    except SireError as problem:
        details = {name: value for name, value in problem.details.items() if _is_plain(value)}
        return Rejected(problem.code, problem.message, problem.hint, details)
    except OSError as problem:
        return Unreadable(problem.errno or 0, problem.strerror or type(problem).__name__)
    except Exception as problem:  # a parser that was not prepared for this file
        name = type(problem).__name__
        return Rejected(
            InvalidModel.code, f"{spec.path} cannot be read: it is damaged ({name}).", "", {}
        )


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float)


def _allow_processor(seconds: int) -> None:
    """Have the kernel end this process once it has used the processor for this much longer."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + seconds
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard == resource.RLIM_INFINITY or limit <= hard:
        resource.setrlimit(resource.RLIMIT_CPU, (limit, hard))


def main() -> None:
    """Read requests from standard input and write replies to standard output.

    The argument is how many seconds one request may use the processor.
    """
    for number in (signal.SIGINT, signal.SIGHUP):  # of the daemon's terminal
        signal.signal(number, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    most = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (most, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # It would go through millions of values again and again; parsed headers have no circles.
    gc.disable()
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin.buffer, sys.stdout.buffer, int(sys.argv[1]))


if __name__ == "__main__":
    main()

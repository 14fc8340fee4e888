"""The process that reads headers, with its limits: whatever a file is, it answers and goes on.

What it says is what reading in this process gives, which is where coverage guides; a parser that
raises what it does not declare is a bug there, although the process turns it into an error.
"""

import atexit
from functools import cache
from pathlib import Path

from sire.errors import SireError
from sire.protocol.framing import encode
from sire.protocol.requests import Register
from sire.spec import ModelSpec
from sired.daemon.models.headers import LARGEST_STATEMENT, HeaderReaders
from sired.daemon.models.registration import inspect
from sired.store.content import content_files
from tests.fuzz import model_headers
from tests.fuzz.draw import Draw, scratch

_ARGUMENTS: tuple[dict[str, object], ...] = (
    {},
    {},
    {"dtype": "fp16"},
    {"base": "/nowhere"},
    {"task": "x"},
    {"key": [1, None]},
)
_CLASSES = (None, None, "a:B", "/nowhere.py:C")


@cache
def readers() -> HeaderReaders:
    """The kept processes."""
    made = HeaderReaders(cpu_seconds=5, patience=15.0)
    atexit.register(made.close)
    return made


def fuzz_one(data: bytes) -> None:
    """Have a drawn model read; raises only for what is a bug."""
    draw = Draw(data)
    with scratch() as directory:
        path = Path(directory) / "m"
        spec = ModelSpec(
            "m",
            str(path),
            model_class=draw.choice(_CLASSES),
            trusted=draw.byte() % 2 == 1,
            args=draw.choice(_ARGUMENTS),
        )
        model_headers.write_drawn(draw, path)
        here, there = _outcome(spec, readers=None), _outcome(spec, readers=readers())
        assert here == there, "the process says something else"


def _outcome(spec: ModelSpec, readers: HeaderReaders | None) -> object:
    """What a model is found to be, with its files; or the type and text of its error."""
    try:
        found = inspect(spec) if readers is None else readers.inspect(spec)
        assert len(encode(Register(model=found))) < LARGEST_STATEMENT + 10_000
        path = Path(found.path)
        if readers is None:
            return found, content_files(found.format, path, found.args)
        return found, readers.files(found)
    except SireError as error:
        assert len(str(error)) < 5_000, "an error repeats what it refuses"
        return type(error), error.message, error.hint
    except OSError as error:
        return type(error), error.errno


def seeds() -> list[bytes]:
    """Those of the formats, with each class and trust."""
    return [
        bytes([0, kind, trust, 0, arguments]) + seed
        for number, seed in enumerate(model_headers.seeds())
        for kind, trust, arguments in ((0, 0, 0), (2, number % 2, number % len(_ARGUMENTS)))
    ]

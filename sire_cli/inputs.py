"""The inputs of a command: files, stdin, and lines of JSON."""

import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import msgspec

from sire.errors import InvalidConfiguration, InvalidInput
from sire.paths import nearest_file_hint
from sire.protocol.content import (
    BY_NAME,
    BY_SUFFIX,
    BYTE_ORDER_MARKS,
    CSV,
    JSON,
    PARTS,
    TEXT,
    TSV,
    UNKNOWN,
    is_json,
    is_text,
    sniff,
)
from sire_cli.errors import FileMissing
from sire_cli.files import STDIN, type_of

_HEAD = 16
# One request per line; to the daemon each is an input of its own.
_LINES = "jsonl"
_LINES_SUFFIXES = (".jsonl", ".ndjson")
# An input of a model, and the file or JSON that it gets.
_NAMED = re.compile(r"([A-Za-z_][^\s=/]*)=(.+)", re.DOTALL)
_HEADERS = {"yes": "present", "no": "absent"}


@dataclass(frozen=True, slots=True)
class Input:
    """The input of one request: its name as given, its frames of bytes and its content type."""

    name: str
    frames: tuple[bytes, ...]
    content_type: str

    @property
    def size(self) -> int:
        """Bytes in all frames together."""
        return sum(map(len, self.frames))

    @property
    def label(self) -> str:
        """The name as valid text: bytes of a file name that are not UTF-8 are escaped."""
        return os.fsencode(self.name).decode(errors="backslashreplace")


@dataclass(frozen=True, slots=True)
class InputFile:
    """An input by its name; ``read`` reads it.

    ``read`` raises FileMissing if the file does not exist, and InvalidInput if it is a directory,
    is empty, or cannot be read.
    """

    name: str
    read: Callable[[], Input]


@dataclass(frozen=True, slots=True)
class InputOptions:
    """What a command's options state about its inputs.

    Attributes:
        content_type: of all inputs; None to detect it for each.
        lines: whether the inputs are lines of JSON; None to see it by the file name's suffix.
        header: the value of the parameter ``header`` of tables; "" if it is not stated.
    """

    content_type: str | None = None
    lines: bool | None = None
    header: str = ""


def input_options(from_: str | None, header: str | None = None) -> InputOptions:
    """Read ``--from`` and ``--header``.

    Raises:
        InvalidConfiguration: a value is not valid.
    """
    if header is not None and header.lower() not in _HEADERS:
        raise InvalidConfiguration(f"--header must be yes or no (got {header!r}).")
    stated = _HEADERS.get((header or "").lower(), "")
    if from_ == _LINES:
        return InputOptions(JSON, lines=True, header=stated)
    declared = type_of(from_, "--from", (*BY_NAME, _LINES))
    return InputOptions(declared, None if declared is None else False, stated)


def list_inputs(names: list[str], options: InputOptions) -> list[InputFile]:
    """The inputs of these files: one for each, or one for each line of a file with lines of JSON.

    Names of the form ``INPUT=FILE`` or ``INPUT=JSON`` are the inputs of one request.

    Raises:
        InvalidConfiguration: "-" occurs more than once, or only some names are of that form.
        FileMissing: a file with lines of JSON does not exist.
        InvalidInput: a file with lines of JSON has none, or cannot be read.
    """
    stated = [_NAMED.fullmatch(name) for name in names if not Path(name).exists()]
    named = [(match[1], match[2]) for match in stated if match]
    sources = [source for _, source in named] if named else names
    if (count := sources.count(STDIN)) > 1:
        raise InvalidConfiguration(f"-i - must be given at most once (got {count} times).")
    if named:
        _check_named(names, [name for name, _ in named])
        return [InputFile(" ".join(names), partial(_read_named, " ".join(names), named, options))]
    inputs: list[InputFile] = []
    for name in names:
        if _has_lines(name, options):
            inputs += _lines(name)
        else:
            inputs.append(InputFile(name, partial(_read_input, name, options)))
    return inputs


def _check_named(given: list[str], names: list[str]) -> None:
    if len(names) < len(given):
        raise InvalidConfiguration(
            "Either all inputs have names, or none has.",
            hint="Inputs of one request: -i audio=a.wav -i gain=3. Several requests: -i a.wav "
            "-i b.wav.",
        )
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise InvalidConfiguration(f"The input {repeated} is given {names.count(repeated)} times.")


def _read_named(name: str, named: list[tuple[str, str]], options: InputOptions) -> Input:
    """Read the inputs of one request: files, or numbers, texts and lists as JSON."""
    parts: list[tuple[str, str]] = []
    frames: list[bytes] = []
    for input_name, source in named:
        if is_json(os.fsencode(source)):
            kind, content = JSON, os.fsencode(source)
        else:
            one = _read_input(source, options)
            kind, content = one.content_type, one.frames[0]
        parts.append((input_name, kind))
        frames.append(content)
    return Input(name, (msgspec.msgpack.encode(parts), *frames), PARTS)


def _has_lines(name: str, options: InputOptions) -> bool:
    lines = options.lines
    if lines is None:
        lines = Path(name).suffix.lower() in _LINES_SUFFIXES
    if lines and options.header:
        raise _no_table(name, "lines of JSON")
    return lines


def _lines(name: str) -> list[InputFile]:
    content = _read(name)
    mark = next((mark for mark in BYTE_ORDER_MARKS if content.startswith(mark)), b"")
    if mark:
        text = content.decode(BYTE_ORDER_MARKS[mark], "replace")
        content = text.removeprefix("\ufeff").encode()
    inputs = [
        Input(f"{name}:{number}", (line,), JSON)
        for number, line in enumerate(content.split(b"\n"), 1)
        if line.strip()
    ]
    if not inputs:
        raise _empty(name)
    return [InputFile(one.name, partial(_itself, one)) for one in inputs]


def _itself(one: Input) -> Input:
    return one


def _read_input(name: str, options: InputOptions) -> Input:
    """Read one input.

    Its content type is the declared one, else that of the file name's suffix, else detected from
    the first bytes. Other text is plain text, unless it is JSON: a number or text without a suffix
    is what the model takes, as its worker knows, and so are other bytes.
    """
    content = _read(name)
    suffix = BY_SUFFIX.get(Path(name).suffix.lower())
    kind = options.content_type or suffix or sniff(content[:_HEAD])
    if kind is None:
        kind = TEXT if is_text(content) and not is_json(content) else UNKNOWN
    if options.header:
        if kind not in {CSV, TSV}:
            raise _no_table(name, kind)
        kind = f"{kind}; header={options.header}"
    return Input(name, (content,), kind)


def _no_table(name: str, kind: str) -> InvalidConfiguration:
    return InvalidConfiguration(
        f"--header applies to CSV and TSV, but {name} is {kind}.",
        hint="If it is a table: --from csv",
    )


def _read(name: str) -> bytes:
    content = sys.stdin.buffer.read() if name == STDIN else _read_file(Path(name))
    if not content:
        raise _empty(name)
    return content


def _empty(name: str) -> InvalidInput:
    return InvalidInput(f"{'stdin' if name == STDIN else name} is empty.")


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileMissing(f"File {path} does not exist.", hint=nearest_file_hint(path)) from None
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a directory.", hint=f"Specify files: {path}/*") from None
    except OSError as problem:
        raise InvalidInput(f"Cannot read {path}: {problem.strerror}.") from None

"""The destinations of answers, and the names of content types."""

import os
import re
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path

from sire.errors import InvalidConfiguration
from sire.nearest import did_you_mean
from sire.protocol.content import BY_NAME, BY_SUFFIX, CSV, JSON, SUFFIXES, TEXT, TSV
from sire_cli.errors import OutputNotWritten

STDIN = "-"
# Types in which answers can be written, by short name.
WRITABLE = ("json", "npy", "npz", "csv", "tsv", "text", "safetensors", "png", "wav", "bytes")
_TEXTUAL = (JSON, TEXT, CSV, TSV)
# A line of a file, as the name of an input.
_LINE = re.compile(r"(.+):(\d+)", re.DOTALL)


def type_of(name: str | None, option: str, accepted: Collection[str] = WRITABLE) -> str | None:
    """The content type for a short name; None for None.

    Raises:
        InvalidConfiguration: the option does not accept this name.
    """
    if name is None:
        return None
    if name not in accepted:
        raise InvalidConfiguration(
            f"{name!r} is not a valid type for {option}.",
            hint=f"{did_you_mean(name, accepted)}Valid types: {', '.join(accepted)}.",
        )
    return BY_NAME[name]


def check_stream(content_type: str | None, target: str | None, sources: Sequence[str]) -> None:
    """Check that an answer can be streamed to stdout.

    Raises:
        InvalidConfiguration: the answer goes to a file, there are several inputs, or the type is
            binary.
    """
    if target not in {None, STDIN} or len(sources) > 1:
        raise InvalidConfiguration(
            "--stream requires exactly one input and no output file.",
            hint="Specify one -i and omit -o.",
        )
    if content_type not in {None, TEXT, JSON}:
        raise InvalidConfiguration(
            "--stream supports only text and json.", hint="Specify --to text or --to json."
        )


def write_part(part: bytes) -> None:
    """Write a part of an answer to stdout and flush it."""
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


class Output:
    """The destination of answers: stdout, one file, or a directory with one file per input.

    Args:
        target: a file, a directory, or "-" or None for stdout.
        requested: the content type; by default that of the file's suffix, else JSON.
        sources: the names of the inputs.

    Raises:
        InvalidConfiguration: several answers would go to the same file, or binary data to a
            terminal.
    """

    def __init__(self, target: str | None, requested: str | None, sources: Sequence[str]) -> None:
        path = None if target in {None, STDIN} else Path(str(target))
        into_directory = path is not None and (path.is_dir() or str(target).endswith("/"))
        self._directory = path if into_directory else None
        self._file = None if into_directory else path
        self._answers: list[bytes] = []
        self.content_type = requested or (self._file and _type_by_ending(self._file)) or JSON
        self._check(sources)

    def _check(self, sources: Sequence[str]) -> None:
        if self._directory is not None:
            _make_directory(self._directory)
            stems = Counter(map(_stem, sources))
            if repeated := next((stem for stem, count in stems.items() if count > 1), None):
                raise InvalidConfiguration(
                    f"Several answers would be written to {self._file_for(repeated)}.",
                    hint="Input files need different names, or separate output directories.",
                )
        elif self.content_type not in _TEXTUAL:
            if len(sources) > 1:
                raise InvalidConfiguration(
                    "Several binary answers cannot be written to one file.",
                    hint="Specify a directory: -o DIR/",
                )
            if self._file is None and sys.stdout.isatty():
                raise InvalidConfiguration(
                    "Binary answers cannot be written to a terminal.",
                    hint="Specify a file: -o FILE",
                )

    def write(self, source: str, answer: bytes) -> None:
        """Write one answer; answers for a single file are collected until ``finish``."""
        if self.content_type == JSON:
            answer += b"\n"
        if self._directory is not None:
            replace_file(self._file_for(_stem(source)), answer)
        elif self._file is not None:
            self._answers.append(answer)
        else:
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()

    def finish(self) -> None:
        """Write the collected answers."""
        if self._file is not None:
            replace_file(self._file, b"".join(self._answers))

    def _file_for(self, stem: str) -> Path:
        assert self._directory is not None
        return self._directory / f"{stem}{SUFFIXES[self.content_type]}"


def _stem(source: str) -> str:
    if line := _LINE.fullmatch(source):
        return f"{_stem(line[1])}-{line[2]}"
    return "stdin" if source == STDIN else Path(source).stem


def _type_by_ending(path: Path) -> str | None:
    content_type = BY_SUFFIX.get(path.suffix.lower())
    writable = [BY_NAME[name] for name in WRITABLE]
    if content_type is not None and content_type not in writable:
        raise InvalidConfiguration(
            f"Answers cannot be written as {content_type}.",
            hint=f"Specify the type of {path} with --to: {', '.join(WRITABLE)}.",
        )
    return content_type


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OutputNotWritten(f"Cannot create directory {path}: {problem.strerror}.") from None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file atomically.

    Raises:
        OutputNotWritten: the file cannot be written; its previous content is unchanged.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # pipes and devices cannot be replaced
            path.write_bytes(content)
            return
        temporary.write_bytes(content)
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink()
        raise OutputNotWritten(f"Cannot write {path}: {problem.strerror}.") from None

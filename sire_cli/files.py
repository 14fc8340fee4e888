"""Input files and where answers go."""

import sys
from dataclasses import dataclass
from pathlib import Path

from sire_cli.exit_codes import FileMissing
from sired.errors import InvalidConfiguration, InvalidInput
from sired.protocol.content import BY_NAME, BY_SUFFIX, JSON, SUFFIXES, TEXT, sniff

STDIN = "-"
_TEXTUAL = (JSON, TEXT, BY_NAME["csv"])
_HEAD = 16


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its name as given, its bytes, and what they are."""

    name: str
    content: bytes
    content_type: str


def read_input(name: str, declared: str | None) -> Input:
    """Read a file, or stdin for "-".

    Its type is the declared one, else what the ending says, else what the bytes say; plain text
    where nothing does.

    Raises:
        FileMissing: there is no such file.
        InvalidInput: it is a directory, empty, or cannot be read.
    """
    content = sys.stdin.buffer.read() if name == STDIN else _read(Path(name))
    if not content:
        raise InvalidInput(f"{'stdin' if name == STDIN else name} is empty.")
    suffix = BY_SUFFIX.get(Path(name).suffix.lower())
    return Input(name, content, declared or suffix or sniff(content[:_HEAD]) or TEXT)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise FileMissing(f"There is no file {path}.") from None
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a directory.", hint=f"Name files: {path}/*") from None
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be read: {problem.strerror}.") from None


def type_of(name: str | None, option: str) -> str | None:
    """The content type a short name stands for.

    Raises:
        InvalidConfiguration: it stands for none.
    """
    if name is None:
        return None
    if name not in BY_NAME:
        raise InvalidConfiguration(
            f"{option} cannot be {name!r}.", hint=f"It can be: {', '.join(BY_NAME)}."
        )
    return BY_NAME[name]


class Output:
    """Where answers go: stdout, one file, or a directory with one file per input."""

    def __init__(self, target: str | None, wanted: str | None) -> None:
        self._directory: Path | None = None
        self._file: Path | None = None
        if target not in {None, STDIN}:
            path = Path(str(target))
            if path.is_dir() or str(target).endswith("/"):
                path.mkdir(parents=True, exist_ok=True)
                self._directory = path
            else:
                self._file = path
        by_ending = BY_SUFFIX.get(self._file.suffix.lower()) if self._file else None
        self.content_type = wanted or by_ending or JSON
        self._answers: list[bytes] = []
        if self._binary and target is None and sys.stdout.isatty():
            raise InvalidConfiguration(
                "That would write binary data to the terminal.", hint="Name a file: -o FILE"
            )

    @property
    def _binary(self) -> bool:
        return self.content_type not in _TEXTUAL

    def write(self, source: str, answer: bytes) -> None:
        """Take one answer; what goes into one file is written at the end, as a whole."""
        if self.content_type == JSON:
            answer += b"\n"
        if self._directory is not None:
            stem = "stdin" if source == STDIN else Path(source).stem
            _replace(self._directory / f"{stem}{SUFFIXES[self.content_type]}", answer)
        elif self._file is not None:
            self._answers.append(answer)
        else:
            sys.stdout.buffer.write(answer)
            sys.stdout.buffer.flush()

    def finish(self) -> None:
        """Every answer is there."""
        if self._file is not None:
            _replace(self._file, b"".join(self._answers))


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees half of it."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device is written to as it is
            path.write_bytes(content)
            return
        temporary = path.with_name(f".{path.name}.part")
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be written: {problem.strerror}.") from None

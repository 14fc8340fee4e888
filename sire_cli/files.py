"""Input files and where answers go."""

import os
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sire.errors import InvalidConfiguration, InvalidInput
from sire.nearest import meant
from sire.paths import meant_file
from sire.protocol.content import BY_NAME, BY_SUFFIX, JSON, SUFFIXES, TEXT, sniff
from sire_cli.exit_codes import FileMissing

STDIN = "-"
# What answers can be written as, by short name.
WRITABLE = ("json", "npy", "npz", "csv", "text", "safetensors")
_TEXTUAL = (JSON, TEXT, BY_NAME["csv"])
_HEAD = 16


@dataclass(frozen=True, slots=True)
class Input:
    """One input: its name as given, its bytes, and what they are."""

    name: str
    content: bytes
    content_type: str


def read_stdin_once(names: list[str]) -> None:
    """Refuse to read stdin for more than one input.

    Raises:
        InvalidConfiguration: it stands among the inputs more than once.
    """
    if names.count(STDIN) > 1:
        raise InvalidConfiguration("stdin can be read only once.", hint="Give -i - once.")


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
        raise FileMissing(f"There is no file {path}.", hint=meant_file(path)) from None
    except IsADirectoryError:
        raise InvalidInput(f"{path} is a directory.", hint=f"Name files: {path}/*") from None
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be read: {problem.strerror}.") from None


def type_of(name: str | None, option: str, among: Collection[str] = BY_NAME) -> str | None:
    """The content type a short name stands for.

    Raises:
        InvalidConfiguration: it stands for none of those that the option takes.
    """
    if name is None:
        return None
    if name not in among:
        raise InvalidConfiguration(
            f"{option} cannot be {name!r}.",
            hint=f"{meant(name, among)}It can be: {', '.join(among)}.",
        )
    return BY_NAME[name]


def check_stream(content_type: str | None, target: str | None, sources: Sequence[str]) -> None:
    """See that an answer can be printed as it is made.

    Raises:
        InvalidConfiguration: it goes to a file, is one of several, or is of bytes.
    """
    if target not in {None, STDIN} or len(sources) > 1:
        raise InvalidConfiguration(
            "--stream prints the answer to one input.", hint="Leave out -o, and give one -i."
        )
    if content_type not in {None, TEXT, JSON}:
        raise InvalidConfiguration("--stream prints text.", hint="It can be: --to text, json.")


def write_part(part: bytes) -> None:
    """Print a part of an answer at once."""
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()


class Output:
    """Where answers go: stdout, one file, or a directory with one file per input.

    Args:
        target: a file, a directory, or "-" or None for stdout.
        wanted: the content type; by default what the file's ending says, else JSON.
        sources: the names of the inputs.

    Raises:
        InvalidConfiguration: the answers could not be told apart, or read, where they are to go.
    """

    def __init__(self, target: str | None, wanted: str | None, sources: Sequence[str]) -> None:
        path = None if target in {None, STDIN} else Path(str(target))
        into_directory = path is not None and (path.is_dir() or str(target).endswith("/"))
        self._directory = path if into_directory else None
        self._file = None if into_directory else path
        self._answers: list[bytes] = []
        self.content_type = wanted or (self._file and _type_by_ending(self._file)) or JSON
        self._check(sources)

    def _check(self, sources: Sequence[str]) -> None:
        if self._directory is not None:
            _make_directory(self._directory)
            stems = Counter(map(_stem, sources))
            if twice := next((stem for stem, count in stems.items() if count > 1), None):
                raise InvalidConfiguration(
                    f"Several answers would be written to {self._file_for(twice)}.",
                    hint="Give inputs different names, or a directory each.",
                )
        elif self.content_type not in _TEXTUAL:
            if len(sources) > 1:
                raise InvalidConfiguration(
                    "Several binary answers do not fit in one file.",
                    hint="Name a directory: -o DIR/",
                )
            if self._file is None and sys.stdout.isatty():
                raise InvalidConfiguration(
                    "That would write binary data to the terminal.", hint="Name a file: -o FILE"
                )

    def write(self, source: str, answer: bytes) -> None:
        """Take one answer; what goes into one file is written at the end, as a whole."""
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
        """Every answer is there."""
        if self._file is not None:
            replace_file(self._file, b"".join(self._answers))

    def _file_for(self, stem: str) -> Path:
        assert self._directory is not None
        return self._directory / f"{stem}{SUFFIXES[self.content_type]}"


def _stem(source: str) -> str:
    return "stdin" if source == STDIN else Path(source).stem


def _type_by_ending(path: Path) -> str | None:
    content_type = BY_SUFFIX.get(path.suffix.lower())
    writable = [BY_NAME[name] for name in WRITABLE]
    if content_type is not None and content_type not in writable:
        raise InvalidConfiguration(
            f"No answer can be written as {content_type}.",
            hint=f"Say what {path} is to hold with --to: {', '.join(WRITABLE)}.",
        )
    return content_type


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise InvalidInput(f"{path} cannot be made: {problem.strerror}.") from None


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that nobody sees half of it.

    Raises:
        InvalidInput: it cannot be written; what was there is there still.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.exists() and not path.is_file():  # a pipe or a device is written to as it is
            path.write_bytes(content)
            return
        temporary.write_bytes(content)
        if path.exists():
            temporary.chmod(path.stat().st_mode & 0o777)
        temporary.replace(path)
    except OSError as problem:
        with suppress(OSError):
            temporary.unlink()
        raise InvalidInput(f"{path} cannot be written: {problem.strerror}.") from None

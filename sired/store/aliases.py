"""The aliases on disk: one JSON file."""

from pathlib import Path

import msgspec

from sire.atomic import write_atomically
from sire.errors import InvalidConfiguration, SireError, error_text
from sire.protocol.aliases import Alias


class AliasFile:
    """The file of all aliases.

    Args:
        path: of the file; it need not exist yet.

    Attributes:
        problem: why it cannot be read; "" if it can.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.problem = ""

    def read(self) -> dict[str, Alias]:
        """The aliases by name; none if the file is damaged."""
        try:
            aliases = msgspec.json.decode(self._path.read_bytes(), type=tuple[Alias, ...])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as problem:
            self.problem = f"the aliases in {self._path} cannot be read: {error_text(problem)}"
            return {}
        return {one.name: one for one in aliases}

    def write(self, aliases: dict[str, Alias]) -> None:
        """Replace the file.

        Raises:
            InvalidConfiguration: it is damaged, and would be lost.
            SireError: it cannot be written.
        """
        if self.problem:
            raise InvalidConfiguration(
                f"Aliases cannot be changed: {self.problem}.",
                hint="Mend or delete the file, then: sire daemon restart",
            )
        ordered = [aliases[name] for name in sorted(aliases)]
        content = msgspec.json.format(msgspec.json.encode(ordered), indent=1)
        try:
            write_atomically(self._path, content + b"\n")
        except OSError as problem:
            raise SireError(f"Cannot write {self._path}: {problem.strerror}.") from None

"""The arguments of the runtime ``command``: how a program that serves a model is started."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

import msgspec

from sire.errors import InvalidModel, shown
from sired.runtimes.arguments import own_arguments, read_arguments

_PLACEHOLDER = re.compile(r"\{(path|port|device|gpu|index|fraction)\}")


class Program(msgspec.Struct, frozen=True):
    """A program that serves a model over HTTP.

    Attributes:
        cmd: the command line, split as a shell does and run without one. The placeholders
            ``{path}``, ``{port}``, ``{device}`` (cpu or cuda:0), ``{gpu}`` (a UUID, or nothing),
            ``{index}`` (of the GPU in PCI bus order) and ``{fraction}`` (of its memory that was
            granted: 0.25) are replaced.
        health: the path that answers GET with success once the program is ready; "" if it is ready
            as soon as it accepts connections.
        endpoint: the path that inputs are posted to.
        directory: the working directory; "" for the daemon's own.
        env: variables added to its environment; the same placeholders are replaced in them.
        stall: seconds without output or CPU use after which starting it has failed.
    """

    cmd: str
    health: str = ""
    endpoint: str = "/"
    directory: str = ""
    env: dict[str, str] = {}
    stall: float = 120.0

    def __post_init__(self) -> None:
        if "port" not in _placeholders(self.cmd, self.env):
            raise InvalidModel(
                f"The command {self.cmd!r} does not specify the port to serve on.",
                hint="Write {port} in place of its number, like --port {port}",
            )
        for name in ("health", "endpoint"):
            given = getattr(self, name)
            if given and not re.fullmatch(r"/[!-~]*", given):
                raise InvalidModel(
                    f"{name}={shown(given)} is not a valid path.", hint="It begins with a slash."
                )


def read_program(keywords: Mapping[str, Any], path: str) -> Program:
    """Read the keywords that ``load`` was called with.

    Args:
        keywords: the model's arguments, among others.
        path: of the model's file or directory; "" if it has none.

    Raises:
        InvalidModel: an argument is missing, unknown or of the wrong type, or the command cannot be
            run.
    """
    program = read_arguments(Program, own_arguments(keywords), "The runtime command")
    check_path(program.cmd, program.env, path)
    return program


def check_path(cmd: str, env: Mapping[str, str], path: str) -> None:
    """Ensure that a model whose command refers to its path has one.

    Raises:
        InvalidModel: it has none.
    """
    if not path and "path" in _placeholders(cmd, env):
        raise InvalidModel(
            f"The command {cmd!r} contains {{path}}, but the model has no path.",
            hint="Specify the model's file or directory after its name.",
        )


def _placeholders(cmd: str, env: Mapping[str, str]) -> set[str]:
    return {name for word in (*split(cmd), *env.values()) for name in _PLACEHOLDER.findall(word)}


def split(command: str) -> list[str]:
    """The words of a command line, split as a shell does.

    Raises:
        InvalidModel: the command line is empty, or a quotation is not closed.
    """
    try:
        words = shlex.split(command)
    except ValueError as problem:
        raise InvalidModel(f"The command {command!r} cannot be parsed: {problem}.") from None
    if not words:
        raise InvalidModel("The command is empty.")
    return words


def fill(text: str, values: dict[str, str]) -> str:
    """A word of a command with values in place of placeholders; other braces are kept."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

"""Programs that serve a model by themselves: the arguments that say how one is started."""

import re
import shlex
from typing import Any

import msgspec

from sire.errors import InvalidModel

_PLACEHOLDER = re.compile(r"\{(path|port|device|gpu)\}")


class Program(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A program that serves a model over HTTP.

    Attributes:
        cmd: the command line, split as a shell would and run without one. ``{path}``, ``{port}``,
            ``{device}`` (cpu or cuda:0) and ``{gpu}`` (a UUID, or nothing) stand for what they say.
        health: the path that answers GET with success once it is ready; "" for it to be ready as
            soon as it accepts connections.
        endpoint: the path that inputs are posted to.
        directory: the directory it is started in; "" for the daemon's own.
        env: variables added to its environment; the same placeholders may stand in them.
        stall: seconds without printing or computing anything after which its start has failed.
    """

    cmd: str
    health: str = ""
    endpoint: str = "/"
    directory: str = ""
    env: dict[str, str] = {}
    stall: float = 120.0


def read_program(args: dict[str, Any], path: str) -> Program:
    """Read a model's arguments as those of a program.

    Args:
        args: of the model.
        path: of the model's file or directory; "" where it has none.

    Raises:
        InvalidModel: one is missing, unknown or of the wrong type, or the command cannot be run.
    """
    try:
        program = msgspec.convert(args, Program)
    except msgspec.ValidationError as problem:
        hint = "Write it like --cmd 'llama-server -m {path} --port {port}' --health /health"
        raise InvalidModel(f"The program's arguments: {problem}.", hint=hint) from None
    _check(program, path)
    return program


def _check(program: Program, path: str) -> None:
    words = [*split(program.cmd), *program.env.values()]
    used = {name for word in words for name in _PLACEHOLDER.findall(word)}
    if "port" not in used:
        raise InvalidModel(
            f"The command {program.cmd!r} does not say which port to serve on.",
            hint="Write {port} where its number is to stand, like --port {port}",
        )
    if "path" in used and not path:
        raise InvalidModel(
            f"The command {program.cmd!r} has a {{path}}, and the model has none.",
            hint="Name the model's file or directory after its name.",
        )
    for name in ("health", "endpoint"):
        given = getattr(program, name)
        if given and not re.fullmatch(r"/[!-~]*", given):
            raise InvalidModel(f"{given!r} is no {name} path.", hint="It begins with a slash.")


def split(command: str) -> list[str]:
    """The words of a command line, as a shell would split it.

    Raises:
        InvalidModel: there are none, or a quotation has no end.
    """
    try:
        words = shlex.split(command)
    except ValueError as problem:
        raise InvalidModel(f"The command {command!r} cannot be read: {problem}.") from None
    if not words:
        raise InvalidModel("The command is empty.")
    return words


def fill(text: str, values: dict[str, str]) -> str:
    """A word of a command with values in place of placeholders; other braces stay."""
    return _PLACEHOLDER.sub(lambda match: values[match[1]], text)

"""AOTInductor packages: programs compiled ahead of time for one kind of device."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from sire.errors import InvalidInput, InvalidModel
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.support.inputs import Arguments

_CHECK = "AOTI_RUNTIME_CHECK_INPUTS"
# How the messages of its checks begin.
_INPUT_ERRORS = ("input_handles[", "expected inputs vector size")
_TOO_FEW = "too small"
_DEVICE = "AOTI_DEVICE_KEY"
# Followed by the id of the process that unpacked it.
_PREFIX = "sire-package-"
_unpacked: list[str] = []


class Package:
    """A loaded package.

    It takes its inputs in the order in which it was exported. The names are known only of inputs
    that were exported as keywords.

    Args:
        path: of the file.
        checks: have the package check its inputs. Otherwise it misinterprets inputs of other dtypes
            or shapes. The checks also reject a single row on a dynamic axis, which the program can
            process although it was not exported for it.

    Attributes:
        device_kind: that it was compiled for: cpu or cuda.

    Raises:
        InvalidModel: it cannot be loaded.
    """

    def __init__(self, path: str, *, checks: bool) -> None:
        os.environ[_CHECK] = str(int(checks))
        try:
            with _own_temporary_directory() as directory:
                link = Path(directory, "model.pt2")  # the suffix that PyTorch requires
                link.symlink_to(path)
                self._package = torch._inductor.aoti_load_package(str(link))  # noqa: SLF001 (documented)
        except RuntimeError as problem:
            if is_out_of_memory(problem):
                raise
            raise InvalidModel(f"{path} cannot be loaded: {_first_line(problem)}") from None
        self.device_kind: str = self._package.get_metadata().get(_DEVICE, "")
        taken = json.loads(self._package.loader.get_call_spec()[0])[1]
        in_order, by_name = taken["children_spec"]
        self._in_order = len(in_order["children_spec"])
        self._by_name: list[str] = json.loads(by_name["context"])

    def arrange(self, given: Any) -> Arguments:
        """The positional and keyword arguments for these inputs.

        Inputs whose names the package does not know are passed by position.

        Raises:
            InvalidInput: their number does not match.
        """
        values = given if isinstance(given, tuple) else (given,)
        named: dict[str, Any] = {}
        if isinstance(given, dict):
            named = {name: given[name] for name in self._by_name if name in given}
            values = tuple(value for name, value in given.items() if name not in named)
        rest = [name for name in self._by_name if name not in named]
        if len(values) != self._in_order + len(rest):
            raise InvalidInput(
                f"The model takes {self._in_order} inputs in order"
                f"{''.join(f', {name}' for name in self._by_name)}; given were "
                f"{', '.join(given) if isinstance(given, dict) else len(values)}."
            )
        named |= dict(zip(rest, values[self._in_order :], strict=True))
        return values[: self._in_order], {name: named[name] for name in self._by_name}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the package.

        Raises:
            InvalidInput: the dtype or shape of an input does not match the compiled program.
        """
        try:
            return self._package(*args, **kwargs)
        except RuntimeError as problem:
            if str(problem).startswith(_INPUT_ERRORS):
                reason = _first_line(problem)
                hint = "Declare its inputs: --input" if _TOO_FEW in reason else ""
                raise InvalidInput(f"The model rejects the input: {reason}.", hint=hint) from None
            raise


@contextmanager
def _own_temporary_directory() -> Iterator[str]:
    """Have packages unpacked into a directory that ``clean_up`` deletes.

    PyTorch deletes its files when the package object is destroyed, which does not happen in a
    process that exits at once.
    """
    sweep(Path(tempfile.gettempdir()))
    before = os.environ.get("TMPDIR")
    directory = tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-")
    _unpacked.append(directory)
    os.environ["TMPDIR"] = directory
    try:
        yield directory
    finally:
        del os.environ["TMPDIR"]
        if before is not None:
            os.environ["TMPDIR"] = before


def sweep(directory: Path) -> None:
    """Delete the directories of processes that were killed."""
    for left in directory.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)


def clean_up() -> None:
    """Delete the directories of unpacked packages; called before the process ends."""
    while _unpacked:
        # A package that is destroyed concurrently deletes its own files.
        shutil.rmtree(_unpacked.pop(), ignore_errors=True)


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0].removesuffix(".")

"""AOTInductor packages: machine code for one kind of device, made ahead by ``torch.export``."""

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
from sired.runtimes.base import is_out_of_memory
from sired.runtimes.support.inputs import Arguments

_CHECK = "AOTI_RUNTIME_CHECK_INPUTS"
# What its checks, and the number of inputs being another, begin with.
_UNFIT = ("input_handles[", "expected inputs vector size")
_TOO_FEW = "too small"
_DEVICE = "AOTI_DEVICE_KEY"
# Then comes the number of the process that unpacked it.
_PREFIX = "sire-package-"
_unpacked: list[str] = []


class Package:
    """A package that is loaded.

    It takes its inputs in the order in which it was exported, and knows the names only of those
    that were exported by keyword.

    Args:
        path: of the file.
        checks: have the package check its inputs. Otherwise it reads those of another dtype or
            shape as if they were its own. It also refuses a single row where an axis is free,
            which it was not exported for and answers all the same.

    Attributes:
        device_kind: what it was compiled for: cpu or cuda.

    Raises:
        InvalidModel: it cannot be loaded.
    """

    def __init__(self, path: str, *, checks: bool) -> None:
        os.environ[_CHECK] = str(int(checks))
        try:
            with _unpacked_apart() as directory:
                link = Path(directory, "model.pt2")  # which its name has to end in
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
        """The arguments that these inputs are.

        Names that the package does not know count for nothing: such inputs are taken in order.

        Raises:
            InvalidInput: it takes another number.
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
        """Run it.

        Raises:
            InvalidInput: dtype or shape of an input are not those it was compiled for.
        """
        try:
            return self._package(*args, **kwargs)
        except RuntimeError as problem:
            if str(problem).startswith(_UNFIT):
                said = _first_line(problem)
                hint = "Declare its inputs: --input" if _TOO_FEW in said else ""
                raise InvalidInput(f"The model does not take this: {said}.", hint=hint) from None
            raise


@contextmanager
def _unpacked_apart() -> Iterator[str]:
    """Have packages unpacked into a directory that ``clean_up`` deletes.

    PyTorch deletes it when the package goes, which in a process that just ends never comes.
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
    """Delete what processes have left there that were killed."""
    for left in directory.glob(f"{_PREFIX}*"):
        pid = left.name.removeprefix(_PREFIX).partition("-")[0]
        if pid.isdecimal() and not Path("/proc", pid).exists():
            shutil.rmtree(left, ignore_errors=True)


def clean_up() -> None:
    """Delete what packages were unpacked to; for when the process is about to end."""
    while _unpacked:
        # A package that goes meanwhile deletes its part itself.
        shutil.rmtree(_unpacked.pop(), ignore_errors=True)


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0].removesuffix(".")

"""What an exported program states about its inputs and outputs is what a loaded one reports."""

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from sire.spec import Signature, TensorSpec
from sired.runtimes.pytorch.programs import _signature as signature_of_program
from sired.store.exported_signature import exported_signature
from sired.store.formats import recognise

ROWS = {0: torch.export.Dim("rows", min=1, max=64)}


class Calls(torch.nn.Module):
    """Calls a function, and has a weight."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function
        self.weight = torch.nn.Parameter(torch.ones(4))

    def forward(self, *args: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.function(self.weight, *args)
        return answer


FLOATS, COUNTS = torch.zeros(3, 4), torch.ones(3, 1, dtype=torch.int64)
CASES = {
    "one input": (lambda w, x: x * w, (FLOATS,), (ROWS,)),
    "two inputs and a dict": (
        lambda w, x, n: {"scaled": x * w * n, "sum": n.sum()},
        (FLOATS, COUNTS),
        (ROWS, ROWS),
    ),
    "a tuple": (lambda w, x: (x * w, x > 0), (FLOATS,), (ROWS,)),
    "fixed lengths": (lambda w, x: x * w, (FLOATS,), (None,)),
    "a dict in a dict": (lambda w, x: {"a": {"b": x * w, "c": x}}, (FLOATS,), (None,)),
    "a number": (lambda w, x, n: x * w * n, (FLOATS, 3), (None, None)),
    "a dict as input": (
        lambda w, x: x["p"] * w + x["q"],
        ({"p": FLOATS, "q": FLOATS},),
        ({"p": None, "q": None},),
    ),
    **{
        str(dtype): (lambda w, x: (x, w), (torch.zeros(2, dtype=dtype),), (None,))
        for dtype in (
            *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.bool),
            *(torch.float16, torch.bfloat16, torch.float64, torch.complex64, torch.complex128),
        )
    },
}


@pytest.mark.parametrize("case", CASES)
def test_the_file_states_what_the_loaded_program_reports(tmp_path: Path, case: str) -> None:
    function, args, axes = CASES[case]
    program = torch.export.export(Calls(function), args, dynamic_shapes={"args": axes})
    torch.export.save(program, tmp_path / "m.pt2")
    reported = signature_of_program(torch.export.load(tmp_path / "m.pt2"))
    assert exported_signature(tmp_path / "m.pt2") == reported
    assert bool(reported.inputs) == (case != "a number")


def test_the_signature_is_known_once_the_file_is_recognised(tmp_path: Path) -> None:
    program = torch.export.export(Calls(lambda w, x: x * w), (torch.zeros(3, 4),))
    torch.export.save(program, tmp_path / "m.pt2")
    assert recognise(tmp_path / "m.pt2").signature == Signature(
        (TensorSpec("", "float32", (3, 4)),), (TensorSpec("", "float32", (3, 4)),)
    )


@pytest.mark.parametrize(
    "program", [b"", b"{", b"[1]", b'{"graph_module": 3}', b"[" * 100_000, b"\xff" * 9]
)
def test_a_program_in_another_form_states_nothing(tmp_path: Path, program: bytes) -> None:
    with zipfile.ZipFile(tmp_path / "m.pt2", "w") as archive:
        archive.writestr("m/models/model.json", program)
    assert exported_signature(tmp_path / "m.pt2") == Signature()

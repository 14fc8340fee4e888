"""Requests that wait together run together, and none is the worse for it."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sire.client.connection import Connection
from sire.errors import InferenceError, InvalidInput, InvalidModel, SireError, WorkerCrashed
from sire.protocol.content import JSON, Payload
from sire.protocol.framing import raise_failure
from sire.protocol.replies import Failure, Reply
from sire.protocol.requests import Load, Predict, Register
from sire.spec import ModelSpec, Signature, TensorSpec
from sire.tensors import pack
from tests.daemon.asking import counted
from tests.home import Home
from tests.waiting import wait_until

MODEL = """
import os, signal, time
import torch

class Gated(torch.nn.Module):
    "Waits for a file, notes how many rows it is given, and does what their first numbers say."
    def __init__(self, gate, notes):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(4, 4))
        self.gate, self.notes = gate, notes

    def forward(self, x):
        while not os.path.exists(self.gate):
            time.sleep(0.001)
        with open(self.notes, "a") as notes:
            notes.write(f"{len(x)}\\n")
        if (x[:, 0] == 1).any():
            raise ValueError("no ones, please")
        if (x[:, 0] == 2).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.softmax(x @ self.weight, dim=1), x.sum(dim=1)
"""
ANY_ROWS = Signature(inputs=(TensorSpec("", "float32", (-1, 4)),))


class Gated:
    """A model behind a gate, which is asked several things at once."""

    def __init__(self, connection: Connection, spec: ModelSpec, directory: Path) -> None:
        self._connection = connection
        self._spec = spec
        self._directory = directory

    def __call__(
        self, bodies: Sequence[bytes | np.ndarray], size: int = 8, delay: float = 0.0
    ) -> list[Any]:
        """Send all of it while the gate is closed; open it; return answers and errors."""
        spec = msgspec.structs.replace(self._spec, batch_size=size, batch_delay=delay)
        self._connection.ask(Register(model=spec, replace=True))
        self._connection.ask(Load(name="m"))
        (self._directory / "gate").unlink(missing_ok=True)
        (self._directory / "notes").write_text("")
        link = self._connection.open_link(90)
        for number, body in enumerate(bodies):
            payload = pack(body) if isinstance(body, np.ndarray) else Payload(JSON, (body,))
            request = Predict(
                id=number,
                model="m",
                content_type=payload.content_type,
                tensors=payload.tensors,
                accept=JSON,
            )
            link.send(request, payload.frames)
        wait_until(lambda: counted(self._connection, "m").queued == len(bodies))
        (self._directory / "gate").touch()
        found: dict[int | str, Any] = {}
        while len(found) < len(bodies):
            reply, frames = link.take()
            found[reply.id] = outcome(reply, frames)
        link.close()
        return [found[number] for number in range(len(bodies))]

    def passes(self) -> list[int]:
        """The rows of each pass since the model was asked last."""
        return [int(line) for line in (self._directory / "notes").read_text().split()]


@pytest.fixture
def gated(home: Home, tmp_path: Path) -> Iterator[Gated]:
    torch.manual_seed(0)
    save_file({"weight": torch.randn(4, 4)}, tmp_path / "m")
    (tmp_path / "model.py").write_text(MODEL)
    spec = ModelSpec(
        name="m",
        path=str(tmp_path / "m"),
        model_class=f"{tmp_path}/model.py:Gated",
        args={"gate": str(tmp_path / "gate"), "notes": str(tmp_path / "notes")},
        signature=ANY_ROWS,
        batch_size=8,
    )

    with home.connect() as connection:
        yield Gated(connection, spec, tmp_path)


def outcome(reply: Reply, frames: list[memoryview]) -> Any:
    if not isinstance(reply, Failure):
        return json.loads(bytes(frames[0]))
    with pytest.raises(SireError) as caught:
        raise_failure(reply)
    return caught.value


def row(*numbers: float) -> bytes:
    return json.dumps([numbers]).encode()


INPUTS = [row(number / 7, 0.5, -1, 3) for number in range(20, 40)]


def test_requests_that_wait_run_in_few_passes_and_are_answered_as_they_are_alone(
    gated: Gated,
) -> None:
    alone = gated(INPUTS, size=1)
    assert gated.passes() == [1] * 20
    together = gated(INPUTS)
    assert max(gated.passes()) == 8
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_tensors_of_several_rows_fill_a_batch_by_their_rows(gated: Gated) -> None:
    inputs = [np.full((3, 4), number, np.float32) for number in range(10, 19)]
    answers = gated(inputs)
    *_, last = gated.passes()
    assert last == 3  # the ninth
    assert 6 in gated.passes()[8:]  # after the trial; a third one would make nine
    assert max(gated.passes()) <= 8
    assert [np.shape(scores) for scores, _ in answers] == [(3, 4)] * 9
    assert [sums for _, sums in answers] == [[4.0 * number] * 3 for number in range(10, 19)]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [(b"[1, NaN]", InvalidInput), (row(1, 2, 3), InvalidInput), (row(1, 0, 0, 0), InferenceError)],
    ids=["broken", "shape", "raises"],
)
def test_one_bad_input_fails_alone(gated: Gated, bad: bytes, kind: type[SireError]) -> None:
    answers = gated([*INPUTS[:6], bad, *INPUTS[6:9]])
    assert isinstance(answers[6], kind)
    assert not any(isinstance(answer, Exception) for answer in answers[:6] + answers[7:])


def test_an_input_that_ends_the_worker_ends_nobody_else(gated: Gated) -> None:
    answers = gated([*INPUTS[:6], row(2, 0, 0, 0), *INPUTS[6:9]])
    assert isinstance(answers[6], WorkerCrashed)
    assert not any(isinstance(answer, Exception) for answer in answers[:6] + answers[7:])


def test_with_a_delay_a_lone_request_waits_for_others_no_longer_than_that(
    gated: Gated,
) -> None:
    assert len(gated(INPUTS[:1], delay=0.01)) == 1
    assert gated.passes() == [1]


@pytest.mark.parametrize(
    "signature", [Signature(), Signature((TensorSpec("", "float32", (1, 4)),))]
)
def test_a_model_that_is_not_known_to_take_any_number_of_rows_is_not_registered_for_batches(
    home: Home, zoo: Path, signature: Signature
) -> None:
    spec = ModelSpec(
        name="m",
        path=str(zoo / "x2.safetensors"),
        model_class=f"{zoo}/classes.py:Scale",
        signature=signature,
        batch_size=8,
    )
    with home.connect() as connection, pytest.raises(InvalidModel, match="any number of rows"):
        connection.ask(Register(model=spec))


def test_batches_are_said_when_a_model_is_shown(home: Home, register: Callable[..., Any]) -> None:
    register(
        "m", 2, "Scale", "--input", "float32[-1,4]", "--batch-size", "8", "--batch-delay", "5ms"
    )
    shown = home.sire("show", "m").stdout.decode()
    assert re.search(r"^Batch size +8$", shown, re.MULTILINE)
    assert re.search(r"^Batch delay +5ms$", shown, re.MULTILINE)
    assert home.json("show", "m")["model"]["batch_size"] == 8
    answer = home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4]]")
    assert json.loads(answer.stdout) == [[2, 4, 6, 8]]

"""What models are given and what they answer is in no log."""

from typing import Any

import msgspec
import pytest
import zmq

from sire.errors import InferenceError, InvalidInput, SireError, WorkerCrashed
from sire.protocol.requests import Predict
from tests.home import Home
from tests.trust.conftest import CarelessHome, ask

SECRET = "4929-recognisable-8421"


def logs(home: Home) -> str:
    return "".join(path.read_text() for path in home.paths.logs.rglob("*.log"))


def test_neither_an_input_nor_an_answer_is_logged(careless: CarelessHome) -> None:
    assert SECRET not in logs(careless)
    with pytest.raises(SireError):
        ask(careless, "environment", unknown=SECRET)
    ask(careless, "environment")
    assert SECRET not in logs(careless)


def test_an_input_that_cannot_be_read_is_not_repeated(careless: CarelessHome) -> None:
    broken = [
        (f'{{"do": "{SECRET}" * 1000', "application/json"),
        (f"{SECRET}," * 1000 + "\n1", "text/csv"),
        (SECRET * 1000, "application/x-npy"),
        (SECRET * 1000, "image/png"),
        (SECRET * 1000, f"application/{SECRET}"),
        (SECRET * 1000, "audio/wav"),
    ]
    with careless.connect(autostart=False) as connection:
        for text, content_type in broken:
            request = Predict(model="prying", content_type=content_type)
            with pytest.raises((InvalidInput, InferenceError)) as caught:
                connection.ask(request, [text.encode()])
            assert len(str(caught.value)) < 1000
    assert SECRET not in logs(careless)


@pytest.mark.parametrize(
    "header",
    [
        {"op": SECRET * 10_000, "id": 1},
        {"op": "predict", "model": [SECRET] * 10_000, "id": 1},
        {"op": "predict", "model": SECRET * 10_000, "id": 1},
        {"op": "predict", "model": "m", "priority": SECRET * 10_000, "id": 1},
        {"op": "list", "v": SECRET * 10_000, "id": 1},
    ],
)
def test_a_header_that_cannot_be_read_is_not_repeated_whole(
    careless: CarelessHome, header: Any
) -> None:
    with zmq.Context() as context, context.socket(zmq.REQ) as asking:
        asking.linger, asking.rcvtimeo = 0, 90_000
        asking.connect(f"ipc://{careless.paths.socket}")
        asking.send_multipart([msgspec.msgpack.encode(header)])
        said = asking.recv_multipart()[0]
    assert len(said) < 10_000
    assert SECRET not in logs(careless)


def test_what_a_model_printed_before_it_died_is_in_its_own_log_only(careless: CarelessHome) -> None:
    with pytest.raises(WorkerCrashed, match="last words"):
        ask(careless, "die", saying="last words")
    assert "last words" in careless.paths.model_log("prying").read_text()
    log = careless.paths.daemon_log.read_text()
    assert "last words" not in log
    assert "killed by SIGKILL" in log

"""POST /models/NAME/predict: any content type in, any out, and typed errors."""

import io
import json

import numpy as np
import pytest

from sire.protocol.replies import InstanceList
from sire.protocol.requests import Ps
from tests.conftest import Gate
from tests.gateway.serving import Serving
from tests.waiting import wait_until

ROWS = [[1.0, 2.0, 3.0, 4.5]]
JSON = "application/json"


def npy(array: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_the_answer_is_the_one_that_the_command_prints(served: Serving) -> None:
    answer = served.post("/models/twice/predict", ROWS, content_type=JSON)
    assert (answer.status, answer.headers["content-type"]) == (200, JSON)
    printed = served.home.sire("predict", "twice", "-i", "-", stdin=json.dumps(ROWS).encode())
    assert answer.json() == json.loads(printed.stdout) == [[2.0, 4.0, 6.0, 9.0]]


def test_arrays_go_in_and_out_as_npy(served: Serving) -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    kind = "application/x-npy"
    answer = served.post("/models/twice/predict", npy(array), content_type=kind, accept=kind)
    assert answer.headers["content-type"] == kind
    np.testing.assert_array_equal(np.load(io.BytesIO(answer.body)), 2 * array)


def test_a_body_without_a_type_is_recognised_as_curl_sends_it(served: Serving) -> None:
    form = "application/x-www-form-urlencoded"
    assert served.post("/models/twice/predict", ROWS, content_type=form).json() == [[2, 4, 6, 9]]
    whole = npy(np.ones((1, 4), np.float32))
    assert served.post("/models/twice/predict", whole, content_type=form).json() == [[2] * 4]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("*/*", JSON),
        ("text/html, application/*;q=0.8", JSON),
        ("text/csv;q=0.5, application/x-npz;q=0.9", "application/x-npz"),
        ("application/json;q=0, text/csv", "text/csv"),
    ],
)
def test_the_answer_has_the_type_that_the_client_prefers(
    served: Serving, accept: str, kind: str
) -> None:
    answer = served.post("/models/twice/predict", ROWS, accept=accept)
    assert answer.headers["content-type"] == kind


def test_a_type_that_no_answer_has_is_refused_by_name(served: Serving) -> None:
    refused = served.post("/models/twice/predict", ROWS, accept="video/mp4")
    assert refused.status == 406
    assert "video/mp4" in refused.error["message"]


def test_a_model_that_is_not_registered_is_not_found_and_the_nearest_is_named(
    served: Serving,
) -> None:
    refused = served.post("/models/twise/predict", ROWS)
    assert (refused.status, refused.error["code"]) == (404, "ModelNotFound")
    assert "twice" in refused.error["hint"]


def test_input_that_the_model_does_not_take_is_the_clients_error(served: Serving) -> None:
    assert served.post("/models/twice/predict", ROWS).status == 200  # what it takes is known now
    refused = served.post("/models/twice/predict", "[[1, 2", content_type=JSON)
    assert (refused.status, refused.error["code"]) == (400, "InvalidInput")


def test_an_exception_of_the_model_and_its_crash_are_told_apart(served: Serving) -> None:
    raised = served.post("/models/moody/predict", [[1, 0, 0, 0]])
    assert (raised.status, raised.error["code"]) == (500, "InferenceError")
    assert "no ones, please" in raised.error["message"]
    crashed = served.post("/models/moody/predict", [[2, 0, 0, 0]])
    assert (crashed.status, crashed.error["code"]) == (502, "WorkerCrashed")
    assert served.post("/models/moody/predict", [[7, 0, 0, 0]]).json() == [[14, 0, 0, 0]]


def test_a_timeout_is_the_gateways(served: Serving, gate: Gate) -> None:
    late = served.post("/models/moody/predict?timeout=200ms", [[5, 0, 0, 0]])
    assert (late.status, late.error["code"]) == (504, "DeadlineExceeded")
    gate.open()


def test_parameters_are_those_of_the_command_and_others_are_rejected(served: Serving) -> None:
    path = "/models/twice/predict?timeout=1m&priority=low&keep_alive=5m"
    assert served.post(path, ROWS).status == 200
    refused = served.post("/models/twice/predict?deadline=1m", ROWS)
    assert (refused.status, refused.error["code"]) == (400, "InvalidInput")
    assert "timeout" in refused.error["hint"]
    assert served.post("/models/twice/predict?priority=urgent", ROWS).status == 400


def test_a_client_that_leaves_withdraws_its_request(served: Serving, gate: Gate) -> None:
    def queued() -> int:
        with served.home.connect() as connection:
            instances = connection.expect(InstanceList, Ps()).instances
        return sum(one.queued for one in instances if one.model == "moody")  # and running

    connections = [served.connect() for _ in range(6)]
    for connection in connections:
        # Requests with a priority go through the daemon, which tells how many wait.
        connection.request("POST", "/models/moody/predict?priority=high", "[[5, 0, 0, 0]]")
    wait_until(lambda: queued() == 6)
    gate.let_one_through()
    wait_until(lambda: queued() == 5)
    for connection in connections:
        connection.close()
    wait_until(lambda: queued() <= 2)  # the worker has these
    gate.open()


def test_an_answer_of_a_model_that_does_not_stream_is_one_part(served: Serving) -> None:
    events = served.post("/models/twice/predict", ROWS, accept="text/event-stream")
    assert events.body == b"data: [[2.0,4.0,6.0,9.0]]\n\n"
    lines = served.post("/models/twice/predict", ROWS, accept="application/x-ndjson")
    assert lines.body == b"[[2.0,4.0,6.0,9.0]]\n"
    refused = served.post("/models/none/predict", ROWS, accept="text/event-stream")
    assert refused.status == 404


def test_paths_and_methods_that_do_not_exist_are_told_apart(served: Serving) -> None:
    assert served.get("/nothing").status == 404
    refused = served.get("/v1/completions")  # a model may be named twice/predict
    assert (refused.status, refused.error["code"]) == (405, "MethodNotAllowed")

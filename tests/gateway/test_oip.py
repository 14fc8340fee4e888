"""The Open Inference Protocol, as an unmodified tritonclient speaks it over HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from tests.fuzz.draw import nested
from tests.gateway.serving import Serving, serving
from tests.gateway.tensors import (
    Array,
    check_python,
    check_pytorch,
    datatype_of,
    doubled,
    examples,
    register_models,
    write_models,
)
from tests.home import Home


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oip")
    write_models(folder)
    return folder


@pytest.fixture(scope="module")
def server(gateway_home: Home, folder: Path, zoo: Path) -> Iterator[Serving]:
    register_models(gateway_home, folder, zoo)
    with serving(gateway_home) as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[Any]:
    client = triton.InferenceServerClient(server.authority)
    yield client
    client.close()


def given(name: str, array: Array, *, binary: bool = True) -> Any:
    made = triton.InferInput(name, list(array.shape), datatype_of(array))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def wanted(name: str, *, binary: bool) -> Any:
    return triton.InferRequestedOutput(name, binary_data=binary)


def test_the_server_and_its_models_introduce_themselves(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    about = client.get_server_metadata()
    assert about["name"] == "sire"
    assert "binary_tensor_data" in about["extensions"]
    assert client.is_model_ready("twice", "1")
    described = client.get_model_metadata("twice")
    assert described["platform"] == "onnx_onnxv1"
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}]
    assert described["outputs"] == [{"name": "y", "datatype": "FP32", "shape": [-1, 4]}]
    config = client.get_model_config("lab/identity:v1")
    assert config["input"][0] == {"name": "BOOL", "data_type": "TYPE_BOOL", "dims": [-1, 2]}
    assert config["output"][-1]["data_type"] == "TYPE_STRING"


@pytest.mark.parametrize("binary_in", [True, False], ids=["binary", "json"])
@pytest.mark.parametrize("binary_out", [True, False], ids=["binary", "json"])
def test_an_onnx_model_answers_as_in_its_own_process(
    client: Any, folder: Path, binary_in: bool, binary_out: bool
) -> None:
    rows = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    own = doubled(folder, rows)
    answer = client.infer(
        "twice",
        [given("x", rows, binary=binary_in)],
        outputs=[wanted("y", binary=binary_out)],
        request_id="seven",
    )
    np.testing.assert_array_equal(answer.as_numpy("y"), own)
    assert answer.get_response()["id"] == "seven"


@pytest.mark.parametrize("binary", [True, False], ids=["binary", "json"])
def test_every_datatype_comes_back_as_it_was_sent(client: Any, binary: bool) -> None:
    sent = examples()
    # tritonclient sends FP16 as binary only.
    inputs = [given(n, a, binary=binary or n == "FP16") for n, a in sent.items()]
    outputs = [wanted(f"{n}_out", binary=binary or n == "FP16") for n in sent]
    answer = client.infer("lab/identity:v1", inputs, outputs=outputs)
    for name, array in sent.items():
        got = answer.as_numpy(f"{name}_out")
        assert answer.get_output(f"{name}_out")["datatype"] == name
        if name == "BYTES":
            got = np.vectorize(lambda t: t.decode() if isinstance(t, bytes) else t, [object])(got)
        np.testing.assert_array_equal(got, array, strict=True)


def test_bf16_goes_in_as_two_bytes(client: Any) -> None:
    assert client.get_model_metadata("brain")["inputs"][0]["datatype"] == "BF16"
    rows = torch.tensor([[1.5, -2.25, 3e38, 1e-3]]).bfloat16()
    sent = rows.float().numpy().astype(ml_dtypes.bfloat16)
    answer = client.infer("brain", [given("x", sent)])
    own = (rows.float() * 2).numpy()
    np.testing.assert_array_equal(answer.as_numpy("output_0"), own)


def test_a_pytorch_model_answers_as_in_its_own_process(client: Any, zoo: Path) -> None:
    check_pytorch(client, given, zoo)


def test_a_python_model_takes_and_gives_texts_and_numbers_by_name(client: Any) -> None:
    check_python(client, given)


def test_the_asynchronous_call_answers_as_well(client: Any) -> None:
    rows = np.ones((1, 4), np.float32)
    waiting = [client.async_infer("twice", [given("x", rows * n)]) for n in range(4)]
    for number, one in enumerate(waiting):
        np.testing.assert_array_equal(one.get_result().as_numpy("y"), 2 * number * rows)


def test_models_are_loaded_unloaded_and_listed(client: Any) -> None:
    client.load_model("twice")
    states = {one["name"]: one["state"] for one in client.get_model_repository_index()}
    assert states["twice"] == "READY"
    assert states.keys() == {"twice", "lab/identity:v1", "words", "scale", "brain"}
    client.unload_model("twice")
    (twice,) = [one for one in client.get_model_repository_index() if one["name"] == "twice"]
    assert (twice["state"], twice["reason"]) == ("UNAVAILABLE", "unloaded")
    with pytest.raises(InferenceServerException, match="clients do not change models"):
        client.load_model("twice", config="{}")


def test_statistics_count_requests(client: Any) -> None:
    def count() -> int:
        (stats,) = client.get_inference_statistics("twice")["model_stats"]
        return int(stats["inference_stats"]["success"]["count"])

    before = count()
    client.infer("twice", [given("x", np.ones((1, 4), np.float32))])
    assert count() == before + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_id": 7, "sequence_start": True}, "sequence extension is not supported"),
        ({"priority": 3}, "Priorities of requests are not supported"),
        ({"model_version": "2"}, "no version '2'"),
        (
            {"outputs": [triton.InferRequestedOutput("y", class_count=2)]},
            "classification extension",
        ),
        ({"outputs": [triton.InferRequestedOutput("z")]}, "no output 'z'"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message):
        client.infer("twice", [given("x", np.ones((1, 4), np.float32))], **options)


def test_a_timeout_is_in_microseconds(client: Any) -> None:
    rows = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(
        client.infer("twice", [given("x", rows)], timeout=90_000_000).as_numpy("y"), 2 * rows
    )


def test_errors_are_one_text_with_the_status_of_their_type(server: Serving, client: Any) -> None:
    with pytest.raises(InferenceServerException, match="No model 'nobody'"):
        client.infer("nobody", [given("x", np.ones((1, 4), np.float32))])
    with pytest.raises(InferenceServerException, match="no input 'y'"):
        client.infer("twice", [given("y", np.ones((1, 4), np.float32))])
    answer = server.post("/v2/models/nobody/infer", {"inputs": []})
    assert answer.status == 404
    assert isinstance(answer.json()["error"], str)


X = {"name": "x", "shape": [1, 4], "datatype": "FP32"}


@pytest.mark.parametrize(
    ("one", "message"),
    [
        ({**X, "data": [1, 2, 3]}, "3 elements; its shape"),
        ({**X, "data": [[1, 2], [3]]}, "differ in length"),
        ({**X, "data": ["a", "b", "c", "d"]}, "not FP32"),
        ({**X, "datatype": "INT8", "data": [1, 2, 3, 300]}, "300, which INT8 cannot represent"),
        ({**X, "datatype": "INT32", "data": [1, 2, 3, 1.5]}, "1.5, which INT32 cannot represent"),
        ({**X, "datatype": "FP16", "data": [1, 2, 3, 1e6]}, "FP16 cannot represent"),
        ({**X, "datatype": "BYTES", "data": [1, 2, 3, 4]}, "not BYTES"),
        ({**X, "datatype": "FP31", "data": [1]}, "Did you mean FP"),
        ({**X, "shape": [-1, 4], "data": [1]}, "shape that is not valid"),
        ({**X, "shape": [1] * 65, "data": [1]}, "shape that is not valid"),
        (X, "needs either data or binary_data_size"),
        ({**X, "parameters": {"binary_data_size": 16}}, "0 bytes are left"),
        ({**X, "parameters": {"shared_memory_region": "r"}}, "shared memory extensions"),
        ({**X, "shape": "wide"}, "not valid"),
        ({**X, "datatype": "INT8", "data": nested(40)}, "elements; its shape"),
        ({**X, "datatype": "INT8", "data": nested(70)}, "differ in length"),
        ({**X, "name": "", "data": [1, 2, 3, 4]}, "has no input ''."),
    ],
)
def test_bad_inputs_are_the_clients_error_and_named(
    server: Serving, one: dict[str, Any], message: str
) -> None:
    answer = server.post("/v2/models/twice/infer", {"inputs": [one]})
    assert answer.status == 400
    assert message in answer.json()["error"]


@pytest.mark.parametrize("length", ["-1", "x", "100000", "5", "9" * 400, "²", "0" * 5000 + "5"])
def test_a_wrong_length_of_the_header_is_refused(server: Serving, length: str) -> None:
    body = json.dumps({"inputs": [{**X, "data": [1, 2, 3, 4]}]}).encode()
    headers = {"Inference-Header-Content-Length": length.encode().decode("latin-1")}
    assert server.ask("POST", "/v2/models/twice/infer", body, headers).status == 400


def test_numbers_that_json_lacks_are_not_sent_as_others(client: Any) -> None:
    rows = np.array([[np.nan, np.inf, 1, 2]], np.float32)
    exact = client.infer("twice", [given("x", rows)]).as_numpy("y")
    np.testing.assert_array_equal(exact, 2 * rows)
    with pytest.raises(InferenceServerException, match="which JSON lacks"):
        client.infer("twice", [given("x", rows)], outputs=[wanted("y", binary=False)])

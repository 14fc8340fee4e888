"""The Open Inference Protocol, as an unmodified tritonclient speaks it over gRPC."""

import asyncio
import queue
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
import torch
import tritonclient.grpc as triton
import tritonclient.grpc.aio
from tritonclient.utils import InferenceServerException

from sire.protocol.replies import InstanceList
from sire.protocol.requests import Ps
from sired.gateway.rpc.schema import METHODS, SERVICE
from tests.conftest import Gate
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
from tests.waiting import wait_until

ROWS = np.ones((1, 4), np.float32)
BIG = np.array([[1, 2, 3, 300]], np.int32)
PARTS = """
class Model:
    def load(self, path):
        pass

    def predict(self, data):
        return list(self.stream(data))

    def stream(self, data):
        for row in data:
            if row[0] < 0:
                raise ValueError("no negative numbers, please")
            yield row * 2
"""
ECHO = """
class Model:
    def load(self, path):
        pass

    def predict(self, data):
        return dict(data)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("grpc")
    write_models(folder)
    (folder / "parts.py").write_text(PARTS)
    (folder / "echo.py").write_text(ECHO)
    return folder


@pytest.fixture(scope="module")
def server(gateway_home: Home, folder: Path, zoo: Path) -> Iterator[Serving]:
    register_models(gateway_home, folder, zoo)
    gateway_home.register("parts", folder / "parts.py")
    gateway_home.register("echo", folder / "echo.py")
    classes = zoo / "classes.py"
    gateway_home.register("moody", zoo / "x2.safetensors", "--class", f"{classes}:Moody")
    with serving(gateway_home, "--grpc", "127.0.0.1:0") as running:
        yield running


@pytest.fixture(scope="module")
def client(server: Serving) -> Iterator[Any]:
    client = triton.InferenceServerClient(server.grpc)
    yield client
    client.close()


@pytest.fixture
def raw(server: Serving) -> Iterator[grpc.Channel]:
    """A channel for requests that tritonclient does not send."""
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def given(name: str, array: Array) -> Any:
    made = triton.InferInput(name, list(array.shape), datatype_of(array))
    made.set_data_from_numpy(array)
    return made


def call(channel: grpc.Channel, method: str, request: Any, **options: Any) -> Any:
    kinds = METHODS[method]
    ask: Any = channel.unary_unary(
        f"/{SERVICE}/{method}", kinds.request.SerializeToString, kinds.response.FromString
    )
    return ask(kinds.request(**request), timeout=90, **options)


def queued(server: Serving, model: str) -> int:
    """How many requests a model has, those that run included."""
    with server.home.connect() as connection:
        instances = connection.expect(InstanceList, Ps()).instances
    return sum(one.queued for one in instances if one.model == model)


def test_messages_have_the_names_and_numbers_of_the_standard() -> None:
    from tritonclient.grpc import service_pb2

    standard = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name

    def compare(ours: Any, theirs: Any) -> None:
        assert ours.full_name == theirs.full_name
        for field in ours.fields:
            other = theirs.fields_by_name[field.name]
            assert (field.number, field.type) == (other.number, other.type), field.full_name
            assert field.is_repeated == other.is_repeated, field.full_name
            if field.message_type is not None:
                compare(field.message_type, other.message_type)
            elif field.enum_type is not None:
                names = {value.name: value.number for value in other.enum_type.values}
                assert {v.name: v.number for v in field.enum_type.values} == names

    for name, method in METHODS.items():
        compare(method.request.DESCRIPTOR, standard[name].input_type)
        compare(method.response.DESCRIPTOR, standard[name].output_type)
        assert method.streams == standard[name].client_streaming


def test_the_server_and_its_models_introduce_themselves(client: Any) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata().name == "sire"
    assert client.is_model_ready("twice", "1")
    described = client.get_model_metadata("twice", as_json=True)
    assert described["platform"] == "onnx_onnxv1"
    assert described["inputs"] == [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}]
    config = client.get_model_config("lab/identity:v1").config
    assert config.input[0].name == "BOOL"
    assert list(config.input[0].dims) == [-1, 2]
    assert config.output[-1].data_type == 13  # TYPE_STRING


def test_an_onnx_model_answers_as_in_its_own_process(client: Any, folder: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    wanted = [triton.InferRequestedOutput("y")]
    answer = client.infer("twice", [given("x", rows)], outputs=wanted, request_id="seven")
    np.testing.assert_array_equal(answer.as_numpy("y"), doubled(folder, rows), strict=True)
    assert answer.get_response().id == "seven"


def test_a_pytorch_model_answers_as_in_its_own_process(client: Any, zoo: Path) -> None:
    check_pytorch(client, given, zoo)


def test_a_python_model_takes_and_gives_texts_and_numbers_by_name(client: Any) -> None:
    check_python(client, given)


def test_every_datatype_comes_back_as_it_was_sent(client: Any) -> None:
    sent = examples()
    answer = client.infer("lab/identity:v1", [given(n, array) for n, array in sent.items()])
    for name, array in sent.items():
        got = answer.as_numpy(f"{name}_out")
        assert answer.get_output(f"{name}_out").datatype == name
        if name == "BYTES":
            got = np.vectorize(lambda text: text.decode(), [object])(got)
        np.testing.assert_array_equal(got, array, strict=True)


def test_bf16_goes_in_as_two_bytes(client: Any) -> None:
    rows = torch.tensor([[1.5, -2.25, 3e38, 1e-3]]).bfloat16()
    sent = rows.float().numpy().astype(ml_dtypes.bfloat16)
    answer = client.infer("brain", [given("x", sent)])
    np.testing.assert_array_equal(answer.as_numpy("output_0"), (rows.float() * 2).numpy())


FIELDS = {
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "BOOL": "bool_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def typed(name: str, array: Array, field: str = "") -> dict[str, Any]:
    """An input with its elements in a field of their type."""
    items = [item.encode() if isinstance(item, str) else item for item in array.ravel().tolist()]
    datatype = datatype_of(array)
    return {
        "name": name,
        "datatype": datatype,
        "shape": array.shape,
        "contents": {field or FIELDS[datatype]: items},
    }


def test_typed_contents_are_the_same_as_raw_ones(raw: grpc.Channel, client: Any) -> None:
    sent = {**examples(), "FP32": np.array([[np.nan, np.inf], [0.1, -0.0]], np.float32)}
    halves = sent.pop("FP16")
    inputs = [typed(name, array) for name, array in sent.items()]
    answer = call(raw, "ModelInfer", {"model_name": "echo", "inputs": inputs})
    again = client.infer("echo", [given(name, array) for name, array in sent.items()])
    assert answer.raw_output_contents == again.get_response().raw_output_contents
    assert [one.datatype for one in answer.outputs] == list(sent)
    half = typed("FP16", halves, "fp32_contents")
    with pytest.raises(grpc.RpcError, match="FP16, which needs raw_input_contents"):
        call(raw, "ModelInfer", {"model_name": "echo", "inputs": [half]})


@pytest.mark.parametrize(
    ("one", "message"),
    [
        (
            typed("x", np.array([[1, 2, 3, 300]], np.int32)) | {"datatype": "INT8"},
            "300, which INT8",
        ),
        (typed("x", ROWS) | {"datatype": "FP31"}, "Did you mean FP"),
        (typed("x", ROWS, "fp64_contents"), "FP32 and has 'fp64_contents'"),
        (typed("x", ROWS) | {"shape": [-1, 4]}, "shape that is not valid"),
        (typed("x", ROWS) | {"shape": [1, 5]}, "20"),
        (typed("z", ROWS), "no input 'z'"),
    ],
)
def test_bad_inputs_are_the_clients_error_and_named(
    raw: grpc.Channel, one: dict[str, Any], message: str
) -> None:
    with pytest.raises(grpc.RpcError, match=message) as refused:
        call(raw, "ModelInfer", {"model_name": "twice", "inputs": [one]})
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_raw_contents_are_for_all_inputs_or_none(raw: grpc.Channel) -> None:
    for inputs, contents in (([typed("x", ROWS)], [b"x" * 16]), ([], [b"x"])):
        request = {"model_name": "twice", "inputs": inputs, "raw_input_contents": contents}
        with pytest.raises(grpc.RpcError, match="raw contents for all inputs"):
            call(raw, "ModelInfer", request)


def test_the_asynchronous_client_answers_as_well(server: Serving) -> None:
    async def ask() -> list[Any]:
        async with tritonclient.grpc.aio.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_ready()
            asked = [client.infer("twice", [given("x", ROWS * n)]) for n in range(8)]
            return [answer.as_numpy("y") for answer in await asyncio.gather(*asked)]

    for number, answer in enumerate(asyncio.run(ask())):
        np.testing.assert_array_equal(answer, 2 * number * ROWS)


class Stream:
    """A stream of an unmodified client, and what has arrived."""

    def __init__(self, server: Serving) -> None:
        self.arrived: queue.Queue[tuple[Any, Any]] = queue.Queue()
        self.client = triton.InferenceServerClient(server.grpc)
        self.client.start_stream(lambda result, error: self.arrived.put((result, error)))

    def next(self) -> tuple[Any, Any]:
        return self.arrived.get(timeout=90)


@pytest.fixture
def stream(server: Serving) -> Iterator[Stream]:
    made = Stream(server)
    yield made
    made.client.close()


def test_a_stream_is_answered_in_its_order(stream: Stream) -> None:
    for number in range(40):
        stream.client.async_stream_infer(
            "twice", [given("x", ROWS * number)], request_id=str(number)
        )
    for number in range(40):
        answer, error = stream.next()
        assert error is None
        assert answer.get_response().id == str(number)
        np.testing.assert_array_equal(answer.as_numpy("y"), 2 * number * ROWS)


def test_each_part_of_an_answer_is_a_response(stream: Stream) -> None:
    rows = np.arange(6, dtype=np.float32).reshape(3, 2)
    stream.client.async_stream_infer(
        "parts", [given("x", rows)], request_id="p", enable_empty_final_response=True
    )
    for row in rows:
        answer, error = stream.next()
        assert error is None
        np.testing.assert_array_equal(answer.as_numpy("output_0"), row * 2)
        assert not answer.get_response().parameters["triton_final_response"].bool_param
    last, error = stream.next()
    assert error is None
    assert last.get_response().parameters["triton_final_response"].bool_param
    assert not last.get_response().outputs


def test_an_error_in_a_stream_is_a_response_and_the_stream_goes_on(stream: Stream) -> None:
    stream.client.async_stream_infer("nobody", [given("x", ROWS)])
    stream.client.async_stream_infer("parts", [given("x", np.array([[1.0], [-1.0]]))])
    stream.client.async_stream_infer("twice", [given("x", ROWS)])
    assert "No model 'nobody'" in str(stream.next()[1])
    np.testing.assert_array_equal(stream.next()[0].as_numpy("output_0"), [2.0])
    assert "no negative numbers, please" in str(stream.next()[1])
    np.testing.assert_array_equal(stream.next()[0].as_numpy("y"), 2 * ROWS)


def test_models_are_loaded_unloaded_and_listed(client: Any) -> None:
    client.load_model("twice")
    states = {one.name: one.state for one in client.get_model_repository_index().models}
    assert states["twice"] == "READY"
    client.unload_model("twice")
    states = {one.name: one.state for one in client.get_model_repository_index().models}
    assert states["twice"] == "UNAVAILABLE"
    with pytest.raises(InferenceServerException, match="clients do not change models"):
        client.load_model("twice", config="{}")


def test_statistics_count_requests(client: Any) -> None:
    def count() -> int:
        (stats,) = client.get_inference_statistics("twice").model_stats
        return int(stats.inference_stats.success.count)

    before = count()
    client.infer("twice", [given("x", ROWS)])
    assert count() == before + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_id": 7, "sequence_start": True}, "sequence extension is not supported"),
        ({"priority": 3}, "Priorities of requests are not supported"),
        ({"model_version": "2"}, "no version '2'"),
        ({"outputs": [triton.InferRequestedOutput("y", class_count=2)]}, "classification"),
        ({"outputs": [triton.InferRequestedOutput("z")]}, "no output 'z'"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(
    client: Any, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InferenceServerException, match=message):
        client.infer("twice", [given("x", ROWS)], **options)


def test_extensions_that_are_missing_are_refused_by_name(client: Any) -> None:
    for ask in (client.get_system_shared_memory_status, client.get_cuda_shared_memory_status):
        with pytest.raises(InferenceServerException, match="shared memory extensions") as refused:
            ask()
        assert refused.value.status() == "StatusCode.UNIMPLEMENTED"
    with pytest.raises(InferenceServerException, match="trace extension"):
        client.get_trace_settings()
    with pytest.raises(InferenceServerException, match="sire logs"):
        client.get_log_settings()


def test_errors_have_the_text_and_a_code_for_the_status_that_they_have_over_http(
    server: Serving, client: Any
) -> None:
    with pytest.raises(InferenceServerException) as refused:
        client.infer("nobody", [given("x", ROWS)])
    assert refused.value.status() == "StatusCode.NOT_FOUND"
    over_http = server.post("/v2/models/nobody/infer", {"inputs": []})
    assert refused.value.message() == over_http.json()["error"]
    with pytest.raises(InferenceServerException, match="no ones, please") as failed:
        client.infer("moody", [given("x", ROWS)])
    assert failed.value.status() == "StatusCode.INTERNAL"


@pytest.mark.parametrize("how", ["cancelled", "late"])
def test_a_request_that_is_cancelled_or_late_is_withdrawn(
    server: Serving, client: Any, gate: Gate, how: str
) -> None:
    arrived: queue.Queue[tuple[Any, Any]] = queue.Queue()
    rows = given("x", ROWS * 5)
    asked = [
        client.async_infer(
            "moody",
            [rows],
            lambda result, error: arrived.put((result, error)),
            client_timeout=5.0 if how == "late" else 90.0,
        )
        for _ in range(6)
    ]
    if how == "cancelled":
        wait_until(lambda: queued(server, "moody") == 6)
        for one in asked:
            one.cancel()
    for _ in asked:
        assert arrived.get(timeout=90)[0] is None
    wait_until(lambda: queued(server, "moody") <= 2)  # the worker has these
    gate.open()
    wait_until(lambda: queued(server, "moody") == 0)


@pytest.mark.settings('[daemon]\nmax_message = "1MiB"\n')
def test_a_message_beyond_the_limit_is_refused(home: Home, register: Callable[..., Any]) -> None:
    register("twice", 2)
    with serving(home, "--grpc", "127.0.0.1:0") as running:
        client = triton.InferenceServerClient(running.grpc)
        with pytest.raises(InferenceServerException) as refused:
            client.infer("twice", [given("x", np.ones((1 << 17, 4), np.float32))])
        assert refused.value.status() == "StatusCode.RESOURCE_EXHAUSTED"
        answer = client.infer("twice", [given("x", ROWS)])
        np.testing.assert_array_equal(answer.as_numpy("output_0"), 2 * ROWS)
        client.close()


def test_an_address_in_use_is_named(server: Serving) -> None:
    refused = server.home.sire("serve", "--listen", "127.0.0.1:0", "--grpc", server.grpc, code=2)
    assert server.grpc.encode() in refused.stderr
    assert b"--grpc 127.0.0.1:PORT" in refused.stderr


def test_the_gateway_ends_although_a_stream_is_open(gateway_home: Home) -> None:
    with serving(gateway_home, "--grpc", "127.0.0.1:0") as running:
        stream = Stream(running)
        stream.client.async_stream_infer("nobody", [given("x", ROWS)])
        assert stream.next()[1] is not None
        running.process.terminate()
        running.process.terminate()  # the second time it does not wait for the stream
        assert running.process.wait(60) == 0
        stream.client.close()


def test_garbage_hurts_nobody_else(server: Serving, raw: grpc.Channel, client: Any) -> None:
    plain: Any = raw.unary_unary(f"/{SERVICE}/ModelInfer")
    with pytest.raises(grpc.RpcError):
        plain(b"\xff" * 100, timeout=90)
    nothing: Any = raw.unary_unary(f"/{SERVICE}/Nothing")
    with pytest.raises(grpc.RpcError) as unknown:
        nothing(b"", timeout=90)
    assert unknown.value.code() is grpc.StatusCode.UNIMPLEMENTED
    np.testing.assert_array_equal(client.infer("twice", [given("x", ROWS)]).as_numpy("y"), 2 * ROWS)

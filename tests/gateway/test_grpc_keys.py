"""API keys and TLS over gRPC."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import trustme
from tritonclient.utils import InferenceServerException

from tests.gateway.serving import Serving, serving
from tests.gateway.test_keys import make, refused
from tests.home import Home

ROWS = np.ones((1, 4), np.float32)
INPUT = triton.InferInput("x", [1, 4], "FP32").set_data_from_numpy(ROWS)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


@pytest.fixture(scope="module")
def keys(gateway_home: Home, file: Path) -> dict[str, str]:
    options: dict[str, list[str]] = {
        "all": ["--scope", "manage"],
        "predict": [],
        "twice": ["--models", "twice"],
        "slow": ["--rate", "0.01/s"],
    }
    return {name: make(gateway_home, file, name, *given) for name, given in options.items()}


@pytest.fixture(scope="module")
def server(
    gateway_home: Home, zoo: Path, file: Path, keys: dict[str, str]
) -> Iterator[tuple[Serving, bytes]]:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(file.parent / "cert.pem")
    certificate.private_key_pem.write_to_path(file.parent / "key.pem")
    for name in ("twice", "other"):
        weights, classes = zoo / "x2.safetensors", zoo / "classes.py"
        gateway_home.register(name, weights, "--class", f"{classes}:Scale")
    arguments = ["--keys", file, "--grpc", "127.0.0.1:0"]
    arguments += ["--tls-cert", file.parent / "cert.pem", "--tls-key", file.parent / "key.pem"]
    with serving(gateway_home, *map(str, arguments)) as running:
        yield running, authority.cert_pem.bytes()


@pytest.fixture(scope="module")
def client(server: tuple[Serving, bytes]) -> Iterator[Any]:
    running, root = server
    credentials = grpc.ssl_channel_credentials(root)
    client = triton.InferenceServerClient(running.grpc, ssl=True, creds=credentials)
    yield client
    client.close()


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def test_a_request_with_a_key_is_answered_over_tls(client: Any, keys: dict[str, str]) -> None:
    for headers in (bearer(keys["all"]), {"x-api-key": keys["all"]}):
        answer = client.infer("twice", [INPUT], headers=headers)
        np.testing.assert_array_equal(answer.as_numpy("output_0"), 2 * ROWS)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer wrong"}, {"x-api-key": "wrong"}])
def test_a_request_without_one_is_refused(client: Any, headers: dict[str, str]) -> None:
    for ask in (client.is_server_ready, client.get_model_repository_index):
        with pytest.raises(InferenceServerException, match="API key") as problem:
            ask(headers=headers)
        assert problem.value.status() == "StatusCode.UNAUTHENTICATED"
    with pytest.raises(InferenceServerException, match="API key"):
        client.infer("twice", [INPUT], headers=headers)


def test_only_liveness_is_told_to_everybody(client: Any) -> None:
    assert client.is_server_live()


def test_a_stream_needs_a_key_too(client: Any, keys: dict[str, str]) -> None:
    errors: list[Any] = []
    client.start_stream(lambda result, error: errors.append(error), headers=bearer("wrong"))
    client.stop_stream()
    assert [error.status() for error in errors] == ["StatusCode.UNAUTHENTICATED"]


def test_a_key_to_predict_loads_nothing(client: Any, keys: dict[str, str]) -> None:
    client.infer("twice", [INPUT], headers=bearer(keys["predict"]))
    for ask in (client.load_model, client.unload_model):
        with pytest.raises(InferenceServerException, match="may not load") as problem:
            ask("twice", headers=bearer(keys["predict"]))
        assert problem.value.status() == "StatusCode.PERMISSION_DENIED"
        ask("twice", headers=bearer(keys["all"]))


def test_a_key_for_some_models_finds_no_others(client: Any, keys: dict[str, str]) -> None:
    headers = bearer(keys["twice"])
    client.infer("twice", [INPUT], headers=headers)
    found = client.get_model_repository_index(headers=headers).models
    assert [one.name for one in found] == ["twice"]
    with pytest.raises(InferenceServerException, match="No model 'other' is served here"):
        client.infer("other", [INPUT], headers=headers)


def test_a_key_that_is_used_too_often_is_told_when_to_try_again(
    server: tuple[Serving, bytes], keys: dict[str, str]
) -> None:
    running, root = server
    metadata = [("authorization", f"Bearer {keys['slow']}")]
    with grpc.secure_channel(running.grpc, grpc.ssl_channel_credentials(root)) as channel:
        ask: Any = channel.unary_unary("/inference.GRPCInferenceService/ServerReady")
        ask(b"", metadata=metadata, timeout=90)
        with pytest.raises(grpc.RpcError, match="requests per second") as problem:
            ask(b"", metadata=metadata, timeout=90)
    assert problem.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "retry-after" in {one.key for one in problem.value.trailing_metadata()}


def test_other_machines_are_not_served_without_keys(gateway_home: Home) -> None:
    said = refused(gateway_home, "--listen", "127.0.0.1:0", "--grpc", "0.0.0.0:0")
    assert "Other machines could connect to 0.0.0.0:0" in said

"""API keys: who may use which models, from where, how often and how long."""

import json
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import trustme

from tests.gateway.serving import Serving, serving
from tests.gateway.test_programs import PROGRAM
from tests.home import Home
from tests.waiting import wait_until

ROWS = b"[[1, 2, 3, 4]]"
PATH = "/models/twice/predict"
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"model": "program", "messages": []},
    "/v1/messages": {"model": "program", "messages": [], "max_tokens": 1},
    "/v1/embeddings": {"model": "program", "input": "x"},
    "/api/chat": {"model": "program", "messages": []},
}


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys") / "keys.json"


def make(home: Home, file: Path, name: str, *options: Any) -> str:
    return home.sire("key", "add", name, "--file", file, *options).stdout.decode().strip()


@pytest.fixture(scope="module")
def key(gateway_home: Home, file: Path) -> str:
    return make(gateway_home, file, "everything", "--scope", "manage")


@pytest.fixture(scope="module")
def server(gateway_home: Home, zoo: Path, file: Path, key: str) -> Iterator[Serving]:
    for name in ("twice", "other"):
        weights, classes = zoo / "x2.safetensors", zoo / "classes.py"
        gateway_home.register(name, weights, "--class", f"{classes}:Scale")
    program = f"{sys.executable} {PROGRAM} {{port}} {file.parent}"
    gateway_home.register("program", "--cmd", program, "--concurrency", 2)
    with serving(gateway_home, "--keys", str(file)) as running:
        yield running


def test_the_key_is_not_in_the_file_which_is_its_owners_alone(key: str, file: Path) -> None:
    assert key.startswith("sire_")
    assert key not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


@pytest.mark.parametrize("header", ["authorization", "x_api_key", "api_key"])
def test_a_request_with_the_key_is_answered(server: Serving, key: str, header: str) -> None:
    value = f"Bearer {key}" if header == "authorization" else key
    assert server.post(PATH, ROWS, **{header: value}).json() == [[2, 4, 6, 8]]


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer é"])
@pytest.mark.parametrize("path", [PATH, "/health", "/metrics", "/v1/models", "/upstream/program/x"])
def test_a_request_without_it_is_refused(server: Serving, path: str, value: str) -> None:
    refused = server.get(path, authorization=value)
    assert (refused.status, refused.error["code"]) == (401, "Unauthorized")
    assert refused.headers["www-authenticate"] == "Bearer"


def test_only_liveness_is_told_to_everybody(server: Serving) -> None:
    assert server.get("/health/live").status == 200
    assert server.get("/health/ready").status == 401


def test_openais_client_sends_its_key(server: Serving, key: str) -> None:
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        assert {one.id for one in client.models.list()} == {"twice", "other", "program"}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="no", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            client.models.list()


def test_a_revoked_key_is_refused_at_once(server: Serving, file: Path) -> None:
    gone = f"Bearer {make(server.home, file, 'gone')}"
    assert server.post(PATH, ROWS, authorization=gone).status == 200
    server.home.sire("key", "rm", "gone", "--file", file)
    assert server.post(PATH, ROWS, authorization=gone).status == 401


def test_a_key_ends_with_its_time(server: Serving, file: Path) -> None:
    short = f"Bearer {make(server.home, file, 'short', '--expires', '1ms')}"
    refused = server.post(PATH, ROWS, authorization=short)
    assert (refused.status, refused.error["message"]) == (401, "The API key of short has expired.")
    assert "expired" in server.home.sire("key", "ls", "--file", file).stdout.decode()


def test_a_file_of_keys_that_is_damaged_lets_no_request_in(
    server: Serving, file: Path, key: str
) -> None:
    given, content = f"Bearer {key}", file.read_bytes()
    file.write_bytes(content[:-9])
    refused = server.post(PATH, ROWS, authorization=given)
    assert (refused.status, refused.error["code"]) == (503, "ServiceUnavailable")
    assert "cannot be read" in refused.error["message"]
    file.write_bytes(content)
    assert server.post(PATH, ROWS, authorization=given).status == 200


def test_a_key_may_be_for_some_models(server: Serving, file: Path) -> None:
    narrow = f"Bearer {make(server.home, file, 'narrow', '--models', 'twice')}"
    assert server.post(PATH, ROWS, authorization=narrow).status == 200
    listed = server.get("/v1/models", authorization=narrow).json()["data"]
    assert [one["id"] for one in listed] == ["twice"]
    assert server.get("/metrics", authorization=narrow).status == 403
    for path in ("/models/other/predict", "/v2/models/other/infer", "/upstream/program/x"):
        assert server.post(path, ROWS, authorization=narrow).status == 404
    for path, body in BODIES.items():
        assert server.post(path, body, authorization=narrow).status == 404


def test_a_key_may_be_used_so_often(server: Serving, file: Path) -> None:
    slow = f"Bearer {make(server.home, file, 'slow', '--rate', '1/d')}"
    assert server.post(PATH, ROWS, authorization=slow).status == 200
    refused = server.post(PATH, ROWS, authorization=slow)
    assert (refused.status, refused.error["code"]) == (429, "TooManyRequests")
    assert int(refused.headers["retry-after"]) > 80_000


def test_a_key_may_have_so_many_requests_in_progress(server: Serving, file: Path) -> None:
    narrow = {"authorization": f"Bearer {make(server.home, file, 'two', '--streams', 2)}"}
    body = {"model": "program", "messages": [{"role": "user", "content": "wait"}], "stream": True}
    connections = [server.connect() for _ in range(2)]
    for connection in connections:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), narrow)
        assert connection.getresponse().status == 200  # its stream has begun
    refused = server.post(PATH, ROWS, **narrow)
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert "2 requests in progress" in refused.error["message"]
    for connection in connections:
        connection.close()
    wait_until(lambda: server.post(PATH, ROWS, **narrow).status == 200)


def test_only_a_key_that_may_manage_loads_and_unloads(
    server: Serving, file: Path, key: str
) -> None:
    plain, manage = f"Bearer {make(server.home, file, 'plain')}", f"Bearer {key}"
    for verb in ("load", "unload"):
        path = f"/v2/repository/models/twice/{verb}"
        assert server.post(path, "{}", authorization=plain).status == 403
        assert server.post(path, "{}", authorization=manage).status == 200


def test_programs_do_not_see_the_key(server: Serving, file: Path, key: str) -> None:
    answer = server.post("/upstream/program/x", b"y", authorization=f"Bearer {key}", x_mine="1")
    assert answer.status == 201
    sent = (file.parent / "request").read_text()
    assert "x-mine" in sent.lower()
    assert key not in sent


def test_the_machine_may_have_any_name_but_no_page_of_another_site_may_ask(
    server: Serving, key: str
) -> None:
    given = {"authorization": f"Bearer {key}", "host": "box.example:8470"}
    assert server.post(PATH, ROWS, **given).status == 200
    assert server.post(PATH, ROWS, origin="http://evil.example", **given).status == 403


def refused(home: Home, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "sire_cli", "serve", *arguments],
        env=home.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    return done.stderr


def test_other_machines_may_connect_only_if_there_are_keys(
    gateway_home: Home, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    said = refused(gateway_home, "--listen", "0.0.0.0:0")
    assert "Other machines could connect" in said
    assert "sire key add NAME" in said
    assert "There are no keys" in refused(gateway_home, "--keys", str(tmp_path / "none.json"))
    request.addfinalizer(gateway_home.paths.keys.unlink)
    key = gateway_home.sire("key", "add", "me").stdout.decode().strip()
    with serving(gateway_home, host="0.0.0.0") as running:
        assert "to those who have a key" in running.summary
        headers = {"Authorization": f"Bearer {key}"}
        assert httpx.get(f"{running.url}/v1/models", headers=headers).status_code == 200


def test_keys_have_names_and_valid_options(gateway_home: Home, tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    make(gateway_home, file, "a", "--rate", "60/m", "--models", "x,y", "--expires", "30d")
    (listed,) = gateway_home.json("key", "ls", "--file", file)
    assert (listed["name"], listed["models"]) == ("a", ["x", "y"])
    assert listed["requests_per_second"] == 1.0
    assert "sha256" not in listed
    for options, said in (
        (["a"], "There is a key a already"),
        (["b c"], "not a name"),
        (["b", "--scope", "root"], "no scope root"),
        (["b", "--rate", "fast"], "not a rate"),
        (["b", "--expires", "soon"], "soon"),
        (["b", "--streams", "0"], "greater than or equal to 1"),
    ):
        done = gateway_home.sire("key", "add", *options, "--file", file, code=2)
        assert said in done.stderr.decode()
    assert "no key" in gateway_home.sire("key", "rm", "b", "--file", file, code=2).stderr.decode()
    file.write_text("[{]")
    assert (
        "cannot be read" in gateway_home.sire("key", "ls", "--file", file, code=2).stderr.decode()
    )


def test_a_certificate_makes_it_https(gateway_home: Home, server: Serving, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    certificate, private = tmp_path / "cert.pem", tmp_path / "key.pem"
    issued.private_key_pem.write_to_path(private)
    for part in issued.cert_chain_pems:
        part.write_to_path(certificate, append=True)
    given = ("--tls-cert", str(certificate), "--tls-key", str(private))
    with serving(gateway_home, *given) as running:
        url = running.summary.partition(" on ")[2].partition(": POST")[0]
        assert url.startswith("https://127.0.0.1:")
        trusted = ssl.create_default_context()
        authority.configure_trust(trusted)
        with httpx.Client(verify=trusted) as client:
            assert client.post(f"{url}{PATH}", content=ROWS).content == b"[[2.0,4.0,6.0,8.0]]"
    assert "takes both" in refused(gateway_home, "--tls-cert", str(certificate))
    certificate.write_text("no certificate")
    assert "cannot be used" in refused(gateway_home, *given)

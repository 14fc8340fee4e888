"""Python and the command line from another machine: through a gateway, over HTTP."""

import json
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
import trustme

from sire import ModelManager, RemoteModel
from sire.client.remote import connection as remote_connection
from sire.client.remote.address import gateway_address
from sire.client.remote.connection import RemoteConnection
from sire.errors import (
    AccessDenied,
    DaemonUnavailable,
    DeadlineExceeded,
    InferenceError,
    InvalidConfiguration,
    InvalidInput,
    ModelNotFound,
)
from sire.protocol.body import PATH, prefix
from sire.protocol.framing import encode
from sire.protocol.jobs import CancelJobs, CountJobs, ListJobs
from sire.protocol.replies import ModelInfo
from sire.protocol.requests import (
    Acquire,
    Predict,
    Ps,
    Remove,
    Request,
    Show,
    Shutdown,
    Stats,
)
from sired.gateway.remote import HERE, MANAGING, USING
from tests.conftest import Gate
from tests.gateway.serving import Serving, serving
from tests.home import Home
from tests.waiting import wait_until

ROWS = np.arange(8, dtype=np.float32).reshape(2, 4) + 10
ECHO = '''
import time


class Echo:
    """Answers with its input, whatever it is."""

    def load(self, path):
        pass

    def predict(self, data):
        return data


class Counting:
    """Streams numbers below one, and answers with the last of them otherwise."""

    def load(self, path):
        pass

    def stream(self, until):
        yield from range(int(until))

    def predict(self, until):
        return int(until) - 1
'''


@pytest.fixture(scope="module")
def echo(served: Serving, tmp_path_factory: pytest.TempPathFactory) -> Serving:
    file = tmp_path_factory.mktemp("echo") / "echo.py"
    file.write_text(ECHO)
    for name in ("Echo", "Counting"):
        served.home.register(name.lower(), file, "--class", f"{file}:{name}")
    return served


@pytest.fixture
def remote(echo: Serving) -> Iterator[ModelManager]:
    with ModelManager(echo.url) as manager:
        yield manager


def row(number: float) -> Any:
    return np.full((1, 4), number, np.float32)


def moody_is(state: str, home: Home) -> bool:
    with home.connect() as connection:
        instances = connection.expect(ModelInfo, Show(name="moody")).instances
        return [one.state for one in instances] == [state]


@pytest.mark.parametrize(
    "data",
    [
        np.arange(3, dtype=np.int64),
        np.array([1.5, 2.5], np.float16),
        np.array(True),
        np.zeros((0, 4), np.float64),
        [np.arange(2), [{"b": ["x", 1, None]}]],
        "text",
        np.arange(300_000, dtype=np.float64),
    ],
    ids=["int64", "float16", "bool", "empty", "nested", "text", "large"],
)
def test_an_answer_is_what_the_daemon_of_this_machine_gives(
    echo: Serving, remote: ModelManager, data: Any
) -> None:
    with ModelManager(home=echo.home.path) as here:
        expected = here.predict("echo", data)
    np.testing.assert_equal(remote.predict("echo", data), expected)


def test_many_answers_come_in_the_order_of_the_inputs(remote: ModelManager) -> None:
    answers = remote.predict_many("twice", (ROWS + n for n in range(50)))
    for number, answer in enumerate(answers):
        np.testing.assert_array_equal(answer, 2 * (ROWS + number))
    assert number == 49


def test_an_error_among_many_is_returned_in_its_turn(remote: ModelManager) -> None:
    inputs = [ROWS, row(1), ROWS]
    first, failed, last = remote.predict_many("moody", inputs, on_error="return")
    assert isinstance(failed, InferenceError)
    assert "no ones, please" in str(failed)
    np.testing.assert_array_equal(first, last)


def test_futures_resolve(remote: ModelManager) -> None:
    futures = [remote.submit_async("twice", ROWS + n) for n in range(20)]
    for number, future in enumerate(futures):
        np.testing.assert_array_equal(future.result(60), 2 * (ROWS + number))


def test_a_future_that_is_cancelled_withdraws_its_request(
    echo: Serving, remote: ModelManager, gate: Gate
) -> None:
    future = remote.submit_async("moody", row(5))
    wait_until(lambda: moody_is("busy", echo.home))
    assert future.cancel()
    wait_until(lambda: not moody_is("busy", echo.home))


def test_parts_arrive_and_leaving_the_loop_ends_the_model(remote: ModelManager) -> None:
    assert list(remote.stream("counting", 4)) == [0, 1, 2, 3]
    for part in remote.stream("counting", 1_000_000_000):
        if part == 3:
            break
    assert remote.predict("counting", 2) == 1  # by the same worker, which is free again


def test_jobs_are_submitted_and_read(remote: ModelManager) -> None:
    job = remote.submit("twice", ROWS, metadata={"page": "7"})
    assert remote.wait_job(job, 60).state == "complete"
    assert remote.job(job).metadata == {"page": "7"}
    np.testing.assert_array_equal(remote.job_result(job), 2 * ROWS)


def test_models_are_listed_loaded_counted_and_unloaded(remote: ModelManager) -> None:
    assert {info.model.name for info in remote.list_models()} >= {"twice", "moody", "echo"}
    assert remote.load_model("twice").state == "ready"
    remote.predict("twice", ROWS)
    assert remote.get_model_stats("twice")["inference_count"] >= 1
    assert remote.pool_stats("twice")["total"] == 1
    assert remote.unload_model("twice") == 1
    assert remote.health().status == "ok"


def test_errors_have_their_types_and_hints(remote: ModelManager) -> None:
    with pytest.raises(ModelNotFound, match="twice"):
        remote.predict("twicee", ROWS)
    with pytest.raises(InferenceError, match="no ones, please"):
        remote.predict("moody", row(1))
    with pytest.raises(InvalidInput, match="cannot be sent"):
        remote.predict("twice", object())


def test_a_late_answer_is_an_error_of_its_type(remote: ModelManager, gate: Gate) -> None:
    remote.load_model("moody")
    with pytest.raises(DeadlineExceeded):
        remote.predict("moody", row(5), timeout=0.5)


@pytest.mark.parametrize("request_", [Remove(name="twice"), Shutdown(), Acquire(name="twice")])
def test_what_only_the_machine_itself_may_do_is_refused(
    remote: ModelManager, echo: Serving, request_: Any
) -> None:
    with RemoteConnection(gateway_address(echo.url)) as connection:
        with pytest.raises(AccessDenied, match=type(request_).__name__):
            connection.ask(request_)
        assert connection.expect(ModelInfo, Show(name="twice")).model.name == "twice"
    with pytest.raises(AccessDenied, match="registered"):
        remote.register_model("here", "/nowhere/model.onnx")


def test_every_request_is_allowed_or_refused_on_purpose() -> None:
    decided = [*USING, *MANAGING, *HERE]
    assert len(decided) == len(set(decided))
    assert set(decided) == set(get_args(Request))


def test_a_lease_of_somebody_else_cannot_be_used(echo: Serving) -> None:
    with RemoteConnection(gateway_address(echo.url)) as connection:
        with pytest.raises(AccessDenied, match="lease"):
            connection.ask(Predict(model="twice", lease=1), [b"[[1, 2, 3, 4]]"])


def test_a_request_that_takes_long_is_kept_alive_by_heartbeats(
    echo: Serving, remote: ModelManager, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gives up on silence before the answer, but not on heartbeats."""
    remote.load_model("moody")
    monkeypatch.setattr(remote_connection, "_SILENCE_SECONDS", 8.0)
    answers: list[Any] = []
    asker = threading.Thread(target=lambda: answers.append(remote.predict("moody", row(5))))
    asker.start()
    wait_until(lambda: moody_is("busy", echo.home))
    asker.join(12.0)  # two heartbeats
    assert asker.is_alive()
    gate.open()
    asker.join(60)
    np.testing.assert_array_equal(answers[0], row(10))


def test_a_gateway_that_is_stopped_is_reported(
    gateway_home: Home, echo: Serving, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_connection, "_SILENCE_SECONDS", 1.0)
    with serving(gateway_home) as other, ModelManager(other.url) as manager:
        manager.predict("twice", ROWS)
        other.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(DaemonUnavailable, match="sent nothing for 1 s"):
                manager.predict("twice", ROWS)
        finally:
            other.process.send_signal(signal.SIGCONT)


def test_a_gateway_that_is_killed_is_reported_and_a_new_one_is_found(
    gateway_home: Home, echo: Serving, gate: Gate
) -> None:
    with serving(gateway_home) as first, ModelManager(first.url) as manager:
        failure: list[Exception] = []

        def ask() -> None:
            try:
                manager.predict("moody", row(5))
            except DaemonUnavailable as error:
                failure.append(error)

        asker = threading.Thread(target=ask)
        asker.start()
        wait_until(lambda: moody_is("busy", gateway_home))
        first.process.kill()
        asker.join(60)
        assert "closed the connection" in str(failure[0])
        with pytest.raises(DaemonUnavailable, match="Cannot connect"):
            manager.predict("twice", ROWS)
        first.process.wait(30)
        with serving(gateway_home, port=first.port):
            np.testing.assert_array_equal(manager.predict("twice", ROWS), 2 * ROWS)


def test_a_url_that_is_not_a_gateways_is_reported(echo: Serving) -> None:
    with pytest.raises(InvalidConfiguration, match="http://"):
        ModelManager("box:8470")
    with pytest.raises(InvalidConfiguration, match="Give one of them"):
        ModelManager(echo.url, embedded=True)
    with ModelManager(f"{echo.url}/elsewhere") as manager:
        with pytest.raises(DaemonUnavailable, match="status 404"):
            manager.list_models()
    with ModelManager("http://127.0.0.1:1") as manager:
        with pytest.raises(DaemonUnavailable, match="Cannot connect to http://127.0.0.1:1"):
            manager.list_models()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\1",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        prefix([b"x" * 100]),
        prefix([b"x"]) + b"x",
        prefix([encode(Show(name="twice"))]) + encode(Show(name="twice")) + b"more",
        b"\1\0\0\0" + b"\xff" * 8,
    ],
)
def test_a_body_that_is_not_a_message_is_refused(echo: Serving, body: bytes) -> None:
    answer = echo.post(PATH, body)
    assert answer.status == 400
    assert answer.error["code"] == "BadRequest"


@pytest.fixture(scope="module")
def keys(gateway_home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Keys for everything, for predictions, and for predictions of one model; and their file."""
    file = str(tmp_path_factory.mktemp("keys") / "keys.json")

    def key(name: str, *options: str) -> str:
        made = gateway_home.sire("key", "add", name, "--file", file, *options)
        return made.stdout.decode().strip()

    return {
        "file": file,
        "manage": key("manager", "--scope", "manage"),
        "predict": key("user"),
        "one": key("guest", "--models", "twice"),
    }


@pytest.fixture(scope="module")
def guarded(echo: Serving, keys: dict[str, str]) -> Iterator[Serving]:
    with serving(echo.home, "--keys", keys["file"]) as running:
        yield running


def test_a_key_is_demanded_and_taken_from_the_environment(
    guarded: Serving, keys: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong in (None, "sire_wrong"):
        with ModelManager(guarded.url, key=wrong) as manager, pytest.raises(AccessDenied):
            manager.list_models()
    monkeypatch.setenv("SIRE_KEY", keys["predict"])
    with ModelManager(guarded.url) as manager:
        np.testing.assert_array_equal(manager.predict("twice", ROWS), 2 * ROWS)
    with pytest.raises(InvalidConfiguration, match="characters"):
        ModelManager(guarded.url, key="two\nlines")


def test_a_key_does_what_its_scope_allows(guarded: Serving, keys: dict[str, str]) -> None:
    with ModelManager(guarded.url, key=keys["predict"]) as manager:
        manager.predict("twice", ROWS)
        with pytest.raises(AccessDenied, match="scope manage"):
            manager.unload_model("twice")
    with ModelManager(guarded.url, key=keys["manage"]) as manager:
        assert manager.unload_model("twice") == 1


def test_a_key_for_one_model_sees_nothing_of_others(
    guarded: Serving, remote: ModelManager, keys: dict[str, str]
) -> None:
    theirs = remote.submit("moody", ROWS)
    with ModelManager(guarded.url, key=keys["one"]) as manager:
        assert [info.model.name for info in manager.list_models()] == ["twice"]
        np.testing.assert_array_equal(manager.predict("twice", ROWS), 2 * ROWS)
        mine = manager.submit("twice", ROWS)
        assert manager.wait_job(mine, 60).state == "complete"
        for call in (
            lambda: manager.predict("moody", ROWS),
            lambda: manager.submit("moody", ROWS),
            lambda: manager.get_model_stats("moody"),
            lambda: manager.job(theirs),
            lambda: manager.job_result(theirs),
        ):
            with pytest.raises(ModelNotFound, match="moody"):
                call()
        with RemoteConnection(gateway_address(guarded.url, keys["one"])) as connection:
            for everything in (Ps(), Stats(), ListJobs(), CountJobs(), CancelJobs(all=True)):
                with pytest.raises(AccessDenied, match="all models"):
                    connection.ask(everything)


def test_https_is_spoken_with_a_certificate_that_is_trusted(
    echo: Serving, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    both = str(tmp_path / "both.pem")
    with serving(echo.home, "--tls-cert", both, "--tls-key", both) as running:
        url = f"https://{running.authority}"
        with ModelManager(url) as manager:
            with pytest.raises(DaemonUnavailable, match="certificate") as caught:
                manager.predict("twice", ROWS)
            assert "SSL_CERT_FILE" in caught.value.hint
            monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
            np.testing.assert_array_equal(manager.predict("twice", ROWS), 2 * ROWS)


def test_a_remote_model_computes_tensors_and_keeps_statistics(
    echo: Serving, gateway_home: Home
) -> None:
    with RemoteModel(echo.authority, "twice") as model:
        assert model.get_statistics()["avg_total_time_ms"] == 0
        tensor = torch.from_numpy(ROWS)
        assert torch.equal(model.compute(tensor), 2 * tensor)
        np.testing.assert_array_equal(model.compute(ROWS), 2 * ROWS)
        statistics = model.get_statistics()
        assert statistics["total_requests"] == 2
        assert statistics["avg_total_time_ms"] == statistics["total_time_ms"] / 2 > 0
    with pytest.raises(InvalidInput, match="twice"):
        RemoteModel(echo.authority)
    with serving(gateway_home, "twice") as only, RemoteModel(only.url) as model:
        assert model.model == "twice"


def remotely(served: Serving, *arguments: str, stdin: bytes = b"", code: int = 0) -> bytes:
    """Run a command for the gateway's machine, in a home that has no daemon."""
    nowhere = {"SIRE_HOME": "/nonexistent", "SIRE_HOST": served.url}
    done = served.home.sire(*arguments, stdin=stdin, code=code, env=nowhere)
    return done.stdout if code == 0 else done.stderr


def test_commands_work_with_another_machine(echo: Serving, tmp_path: Path) -> None:
    assert remotely(echo, "predict", "twice", "-i", "-", stdin=b"[[1, 2, 3, 4]]") == (
        b"[[2.0,4.0,6.0,8.0]]\n"
    )
    (tmp_path / "rows.jsonl").write_text("[[1,2,3,4]]\n[[5,6,7,8]]\n")
    answers = remotely(echo, "predict", "twice", "-i", str(tmp_path / "rows.jsonl"))
    assert [json.loads(line) for line in answers.splitlines()] == [
        [[2, 4, 6, 8]],
        [[10, 12, 14, 16]],
    ]
    job = remotely(echo, "submit", "twice", "-i", "-", stdin=b"[[1, 2, 3, 4]]").decode().split()[-1]
    assert remotely(echo, "job", "wait", job) is not None
    assert json.loads(remotely(echo, "job", "result", job)) == [[2, 4, 6, 8]]
    assert {"twice", "moody"} <= {
        one["model"]["name"] for one in json.loads(remotely(echo, "ls", "--json"))
    }
    assert b"twice" in remotely(echo, "ps")
    assert b"twice" in remotely(echo, "top", "--once")
    assert (
        b"Unloaded"
        in echo.home.sire(
            "unload", "twice", "--host", echo.url, env={"SIRE_HOME": "/nonexistent"}
        ).stderr
    )


def test_commands_for_this_machine_only_refuse_another(echo: Serving) -> None:
    for command in (["register", "x", "x.onnx"], ["rm", "twice"], ["logs"], ["daemon", "status"]):
        assert b"this machine's daemon only" in remotely(echo, *command, code=2)

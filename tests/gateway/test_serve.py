"""The command `sire serve`: what it prints, refuses, survives, and how it ends."""

import http.client
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from sire.errors import InvalidConfiguration
from sire.protocol.replies import InstanceList
from sire.protocol.requests import Ps
from sired.gateway.packages import check_packages
from tests.conftest import Gate
from tests.gateway.serving import Answer, serving
from tests.home import Home
from tests.waiting import wait_until

ROWS = [[1, 2, 3, 4]]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_one_line_and_ends_by_a_signal(
    home: Home, register: Callable[..., Any], number: int
) -> None:
    register("m")
    with serving(home) as running:
        assert running.summary.startswith("Serving all models on http://127.0.0.1:")
        assert running.post("/models/m/predict", ROWS).status == 200
        running.process.send_signal(number)
        assert running.process.wait(90) == 0
        assert running.process.stdout is not None
        assert running.process.stdout.read() == ""


def test_models_that_are_named_are_loaded_and_no_others_are_served(
    home: Home, register: Callable[..., Any]
) -> None:
    register("named")
    register("other")
    with serving(home, "named") as running:
        wait_until(lambda: running.get("/health/ready").status == 200)
        assert [one["model"] for one in home.json("ps")] == ["named"]
        assert running.post("/models/named/predict", ROWS).status == 200
        refused = running.post("/models/other/predict", ROWS)
        assert (refused.status, refused.error["code"]) == (404, "ModelNotFound")
        home.sire("unload", "named")
        assert running.get("/health/ready").json()["not_loaded"] == ["named"]


@pytest.mark.settings('[defaults]\nkeep_alive = "1s"\n')
def test_models_that_are_named_do_not_expire_while_they_are_served(
    home: Home, register: Callable[..., Any]
) -> None:
    def loaded() -> dict[str, float | None]:
        return {one["model"]: one["expires_in_seconds"] for one in home.json("ps")}

    register("named")
    register("other")
    with serving(home, "named") as running:
        wait_until(lambda: running.get("/health/ready").status == 200)
        home.sire("load", "other")
        wait_until(lambda: loaded() == {"named": None})
    wait_until(lambda: loaded() == {})


def test_it_starts_the_daemon_and_finds_the_next_one_when_that_is_killed() -> None:
    home = Home()
    try:
        with serving(home) as running:
            assert running.get("/health").status == 200
            first = home.pid()
            home.sire("daemon", "stop")
            assert running.get("/health").status == 200
            assert home.pid() != first
    finally:
        home.close()


def test_an_address_that_others_reach_is_refused_with_the_reason(home: Home) -> None:
    for address in ("0.0.0.0:8470", ":8470", "192.168.1.2:8470", "[::]:8470"):
        refused = home.sire("serve", "--listen", address, code=2).stderr
        assert b"Other machines could connect" in refused
        assert b"ssh -L 8470" in refused
    assert b"not an IP address" in home.sire("serve", "--listen", "box:http", code=2).stderr


def test_a_port_in_use_and_an_unknown_model_are_reported(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        refused = home.sire("serve", "--listen", address, code=2).stderr
        assert b"Another process listens there" in refused
    assert b"No model 'nobody'" in home.sire("serve", "nobody", code=3).stderr


def test_without_a_daemon_it_says_so() -> None:
    home = Home()
    try:
        refused = home.sire("--no-autostart", "serve", "--listen", "127.0.0.1:0", code=6)
        assert b"No daemon is running" in refused.stderr
    finally:
        home.close()


@pytest.mark.parametrize("missing", ["not_to_be_found", "not_to_be_found.part"])
def test_a_missing_package_is_named_with_the_extra(missing: str) -> None:
    with pytest.raises(InvalidConfiguration) as refused:
        check_packages("grpc", ("starlette", missing))
    assert f"needs {missing}, which is not" in refused.value.message
    assert "sire[grpc]" in refused.value.hint


@pytest.mark.settings("[queue]\nper_model = 1\n")
def test_a_full_queue_is_answered_with_when_to_try_again(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    register("m", 2, "Moody")
    home.sire("load", "m")
    with serving(home) as running:
        connections = [running.connect() for _ in range(4)]
        for connection in connections:
            connection.request("POST", "/models/m/predict", "[[5, 0, 0, 0]]")

        def refusal() -> Answer | None:
            answer = running.post("/models/m/predict", ROWS)
            return answer if answer.status == 429 else None

        refused = wait_until(refusal)
        assert refused.error["code"] == "QueueFull"
        assert int(refused.headers["retry-after"]) >= 1
        gate.open()
        statuses = {connection.getresponse().status for connection in connections}
        assert statuses == {200, 429}


def test_it_imports_nothing_of_the_current_directory(home: Home, tmp_path: Any) -> None:
    (tmp_path / "starlette.py").write_text("raise SystemExit(77)")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "sire_cli", "serve", "nobody"],
        cwd=tmp_path,
        env=home.environment,
        capture_output=True,
        timeout=90,
    )
    assert done.returncode == 3, done.stderr


def test_a_gateway_that_is_killed_leaves_no_requests_and_the_next_one_finds_the_model_loaded(
    home: Home, register: Callable[..., Any], gate: Gate
) -> None:
    def queued() -> int:
        with home.connect() as connection:
            instances = connection.expect(InstanceList, Ps()).instances
        return sum(one.queued for one in instances)

    register("m", 2, "Moody")
    with serving(home) as running:
        clients = [running.connect() for _ in range(6)]
        for client in clients:
            client.request("POST", "/models/m/predict?priority=high", "[[5, 0, 0, 0]]")
        wait_until(lambda: queued() == 6)
        running.process.kill()
        for client in clients:
            with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
                client.getresponse()
    wait_until(lambda: queued() <= 2)  # the worker has these
    wait_until(lambda: home.json("ps")[0]["pid"] is not None)
    (before,) = home.json("ps")
    gate.open()
    with serving(home) as running:
        assert running.post("/models/m/predict", ROWS).status == 500  # it wants no ones
    (after,) = home.json("ps")
    assert after["pid"] == before["pid"]

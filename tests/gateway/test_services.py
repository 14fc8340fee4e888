"""Gateways that the daemon keeps: `sire serve --detach`, `sire service`, `[http]`."""

import http.client
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.home import Home
from tests.waiting import wait_until

ROWS = [[1, 2, 3, 4]]
Register = Callable[..., Any]


def detach(home: Home, *arguments: str) -> None:
    home.sire("serve", "--detach", "--listen", "127.0.0.1:0", *arguments)


def shown(home: Home, name: str = "serve") -> dict[str, Any]:
    info: dict[str, Any] = home.json("service", "show", name)
    return info


def address(home: Home, name: str = "serve") -> str:
    listen: str = shown(home, name)["service"]["listen"]
    return listen


def ask(authority: str, path: str, body: object = None) -> tuple[int, Any]:
    """The status and the JSON of a response."""
    connection = http.client.HTTPConnection(authority, timeout=90)
    try:
        given = None if body is None else json.dumps(body)
        connection.request("GET" if body is None else "POST", path, given)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


def predicts(authority: str, model: str = "m") -> bool:
    return ask(authority, f"/models/{model}/predict", ROWS) == (200, [[2.0, 4.0, 6.0, 8.0]])


def is_closed(authority: str) -> bool:
    host, _, port = authority.partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=90).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.fixture
def own_home() -> Any:
    home = Home()
    yield home
    home.close()


def test_a_service_answers_and_is_shown_until_it_is_stopped(home: Home, register: Register) -> None:
    register("m")
    said = home.sire("serve", "--detach", "--listen", "127.0.0.1:0").stderr
    where = address(home)
    url = f"http://{where}"
    assert f"Serving all models on {url} (service serve)".encode() in said
    assert predicts(where)
    (listed,) = home.json("service", "ls")
    assert (listed["state"], listed["addresses"]) == ("running", [url])
    assert home.json("show", "m")["addresses"] == [url]
    assert [one["addresses"] for one in home.json("ps")] == [[url]]
    assert home.json("health")["addresses"] == [url]
    assert url.encode() in home.sire("top", "--once").stdout
    assert url.encode() in home.sire("daemon", "status").stdout
    assert b"all models" in home.sire("service", "show", "serve").stdout

    home.sire("service", "stop", "serve")
    assert is_closed(where)
    assert home.json("service", "ls") == []
    assert home.json("show", "m")["addresses"] == []
    assert not home.paths.service_log("serve").exists()
    assert not Path(f"/proc/{listed['pid']}").exists()


def test_a_service_of_named_models_has_the_name_of_the_only_one(
    home: Home, register: Register
) -> None:
    register("m")
    register("other")
    detach(home, "m")
    where = address(home, "m")
    wait_until(lambda: ask(where, "/health/ready")[0] == 200)
    (instance,) = home.json("ps")
    assert (instance["model"], instance["expires_in_seconds"]) == ("m", None)
    assert ask(where, "/models/other/predict", ROWS)[0] == 404
    assert home.json("show", "other")["addresses"] == []


def test_a_gateway_that_is_killed_is_started_again_at_its_address(
    home: Home, register: Register
) -> None:
    register("m")
    detach(home)
    where = address(home)
    assert predicts(where)
    (before,) = home.json("ps")
    os.kill(shown(home)["pid"], signal.SIGKILL)
    assert predicts(where)  # what connects meanwhile waits
    info = shown(home)
    assert (info["restarts"], info["service"]["listen"]) == (1, where)
    assert "killed by SIGKILL" in info["last_error"]
    (after,) = home.json("ps")
    assert after["pid"] == before["pid"]


def test_a_gateway_that_keeps_ending_is_started_later_and_refuses_clients_until_then(
    home: Home,
) -> None:
    def killed() -> dict[str, Any] | None:
        info = shown(home)
        if info["pid"] is not None:
            os.kill(info["pid"], signal.SIGKILL)
        return info if info["retry_seconds"] else None

    detach(home)
    info = wait_until(killed)
    assert (info["state"], info["pid"]) == ("restarting", None)
    assert any("serve does not run" in one for one in home.json("health")["problems"])
    wait_until(lambda: shown(home)["state"] == "running")
    assert ask(address(home), "/health/live") == (200, {"status": "ok"})


def test_services_come_back_after_the_daemon_stopped_or_was_killed(own_home: Home) -> None:
    detach(own_home)
    where, before = address(own_home), shown(own_home)["pid"]
    own_home.sire("daemon", "restart")
    wait_until(lambda: shown(own_home)["state"] == "running")
    assert ask(where, "/health")[1]["status"] in {"ok", "starting"}
    assert shown(own_home)["pid"] != before

    os.kill(own_home.pid(), signal.SIGKILL)
    wait_until(lambda: is_closed(where))  # the gateway ends with it
    wait_until(lambda: shown(own_home)["state"] == "running")
    assert ask(where, "/health/live") == (200, {"status": "ok"})

    own_home.sire("service", "stop", "serve")
    own_home.sire("daemon", "restart")
    assert own_home.json("service", "ls") == []


def test_a_gateway_ends_with_its_daemon(own_home: Home) -> None:
    detach(own_home)
    where, gateway = address(own_home), shown(own_home)["pid"]
    own_home.sire("daemon", "stop")
    assert is_closed(where)
    assert not Path(f"/proc/{gateway}").exists()


def test_why_a_service_cannot_be_started_is_reported_and_nothing_is_left(
    home: Home, tmp_path: Path
) -> None:
    pem = tmp_path / "not.pem"
    pem.write_text("no certificate")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        cases = [
            (2, b"Another process listens there", ["--listen", f"127.0.0.1:{port}"]),
            (2, b"cannot be used", ["--tls-cert", str(pem), "--tls-key", str(pem)]),
            (2, b"Other machines could connect", ["--listen", ":0"]),
            (2, b"There are no keys", ["--keys", str(tmp_path / "none.json")]),
            (2, b"not an IP address", ["--listen", "box:http"]),
            (3, b"No model 'nobody'", ["nobody"]),
        ]
        for code, reason, arguments in cases:
            listen = [] if "--listen" in arguments else ["--listen", "127.0.0.1:0"]
            failed = home.sire("serve", "--detach", *listen, *arguments, code=code)
            assert reason in failed.stderr
            assert home.json("service", "ls") == []
    assert not list(home.paths.service_log("x").parent.glob("*"))


def test_a_name_that_is_taken_or_unknown_is_reported(home: Home) -> None:
    detach(home)
    refused = home.sire("serve", "--detach", "--listen", "127.0.0.1:0", code=9).stderr
    assert b"There is a service serve already" in refused
    detach(home, "--service", "second")
    assert [one["service"]["name"] for one in home.json("service", "ls")] == ["second", "serve"]
    unknown = home.sire("service", "stop", "seconds", code=3).stderr
    assert b"Did you mean second?" in unknown
    assert b"--detach" in home.sire("serve", "--service", "x", code=2).stderr


def test_the_settings_open_a_gateway_with_the_daemon(own_home: Home) -> None:
    own_home.configure('[http]\nlisten = "127.0.0.1:0"\n')
    wait_until(lambda: shown(own_home, "http")["state"] == "running")
    where = address(own_home, "http")
    assert ask(where, "/health/live") == (200, {"status": "ok"})
    assert shown(own_home, "http")["configured"] is True
    assert b"http.listen" in own_home.sire("config").stdout


def test_a_gateway_of_the_settings_that_cannot_listen_is_reported_and_tried_again(
    own_home: Home,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        own_home.configure(f'[http]\nlisten = "{where}"\n')
        (problem,) = own_home.json("health")["problems"]
        assert "the service http does not run: Cannot listen on" in problem
    wait_until(lambda: shown(own_home, "http")["state"] == "running")
    assert own_home.json("health")["problems"] == []
    assert ask(where, "/health/live") == (200, {"status": "ok"})


def test_the_keys_of_the_settings_are_found_beside_the_file(own_home: Home) -> None:
    keys = own_home.paths.config / "mine.json"
    own_home.configure('[http]\nlisten = "127.0.0.1:0"\nkeys = "mine.json"\n')
    key = own_home.sire("key", "add", "laptop", "--file", str(keys)).stdout.decode().strip()
    wait_until(lambda: shown(own_home, "http")["state"] == "running")
    where = address(own_home, "http")
    assert ask(where, "/health")[0] == 401
    connection = http.client.HTTPConnection(where, timeout=90)
    connection.request("GET", "/health", headers={"authorization": f"Bearer {key}"})
    assert connection.getresponse().status == 200
    connection.close()

"""What `sire` shows on first use, and what a misspelled command reports."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sire.client.autostart import daemon_runs
from tests.home import Home

pytestmark = pytest.mark.own_daemon


def test_sire_alone_says_what_comes_next_and_starts_nothing(
    home: Home, register: Callable[..., Any]
) -> None:
    first = home.sire().stdout.decode()
    assert "No model is registered" in first
    assert "sire register digits digits.onnx" in first
    assert "sire --help" in first
    assert not daemon_runs(home.paths)
    register("m")
    then = home.sire().stdout.decode()
    assert "1 registered model: m\nDaemon: running." in then
    assert "sire predict m -i FILE" in then


def test_register_says_what_it_found_out(home: Home, zoo: Path) -> None:
    weights, kind = zoo / "x2.safetensors", f"{zoo / 'classes.py'}:Scale"
    said = home.sire("register", "m", weights, "--class", kind).stderr.decode().splitlines()
    assert said[0].startswith("Registered m: pytorch (safetensors), 16 B of weights; a load will")
    assert said[1] == f"It goes to any device, by {kind}; its inputs are known once it is loaded."
    more = ("--input", "float32[-1,4]", "--device", "cpu", "--replace")
    again = home.sire("register", "m", weights, "--class", kind, *more).stderr.decode()
    assert f"It goes to cpu, by {kind}; takes float32[-1,4]." in again


def test_a_slip_of_the_pen_is_answered_with_what_was_meant(
    home: Home, zoo: Path, register: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    register("digits")
    monkeypatch.chdir(zoo)
    for wrong, meant, code in (
        (("shwo", "digits"), b"'show'", 2),
        (("show", "digts"), b"Did you mean digits?", 3),
        (("register", "x", "x2.safetensor"), b"x2.safetensors?", 3),
        (("register", "x", "x2.safetensors", "--runtime", "pytorhc"), b"mean pytorch?", 9),
        (("predict", "digits", "-i", "clases.py"), b"Did you mean classes.py?", 3),
    ):
        assert meant in home.sire(*wrong, code=code).stderr

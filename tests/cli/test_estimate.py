"""What a model would need, told before it is registered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.home import Home
from tests.waiting import wait_until

MIB = 1 << 20


@pytest.fixture
def weights(tmp_path: Path) -> Callable[..., Any]:
    """Write a file with this number of MiB of weights."""

    def _weights(name: str, mebibytes: int) -> Path:
        save_file({"weight": torch.zeros(mebibytes * MIB // 4)}, tmp_path / name)
        return tmp_path / name

    return _weights


OWN = """
class Lookup:
    def __init__(self, mebibytes=0):
        self.mebibytes = mebibytes

    def load(self, path):
        raise RuntimeError("nobody asked for that")

    def predict(self, data):
        return data

    def estimate(self, path):
        return self.mebibytes << 20
"""


def footprint(home: Home, name: str) -> tuple[str, int]:
    info = home.json("show", name)
    return info["footprint_source"], info["footprint_bytes"]


def limit(home: Home, size: str) -> None:
    home.configure(f'[devices.cpu]\nkind = "cpu"\nmemory = "{size}"\n')


@pytest.mark.own_daemon
def test_files_are_judged_by_their_headers_without_class_or_trust(
    home: Home, weights: Callable[..., Any]
) -> None:
    limit(home, "200MiB")
    small, large = weights("small.safetensors", 10), weights("large.safetensors", 300)
    torch.save({"weight": torch.zeros(MIB)}, small.with_name("m.pt"))
    first, second, third = home.json("estimate", small, large, small.with_name("m.pt"))
    (fit,) = first["devices"]
    assert (first["runtime"], first["format"]) == ("pytorch", "safetensors")
    assert first["weight_bytes"] == 10 * MIB
    assert (fit["device"], fit["source"], fit["fits"]) == ("cpu", "estimated", "now")
    assert fit["need_bytes"] == 10 * MIB * 1.3 + 32 * MIB
    assert fit["capacity_bytes"] == fit["free_bytes"] == 200 * MIB
    assert [fit["fits"] for fit in second["devices"]] == ["never"]
    assert third["weight_bytes"] >= 4 * MIB
    assert home.json("ls") == []


def test_what_an_earlier_load_of_the_same_content_and_class_needed_is_known(
    home: Home, zoo: Path, register_torch: Callable[..., Any]
) -> None:
    register_torch("m")
    home.sire("predict", "m", "-i", "-", stdin=b"[[1, 2, 3, 4]]")
    (model,) = home.json("ls")
    assert model["footprint_source"] == "learned"
    weights, named = zoo / "x2.safetensors", ("--class", f"{zoo / 'classes.py'}:Scale")
    (report,) = home.json("estimate", weights, *named)
    (fit,) = report["devices"]
    assert fit["source"] == "learned"
    assert fit["need_bytes"] == pytest.approx(model["footprint_bytes"], rel=0.01)
    (without,) = home.json("estimate", weights)
    assert without["devices"][0]["source"] == "estimated"


@pytest.mark.own_daemon
def test_it_names_the_models_that_would_have_to_go(
    home: Home, register: Callable[..., Any], weights: Callable[..., Any]
) -> None:
    limit(home, "100MiB")
    register("old", 2, "Scale", "--max-memory", "80MiB")
    home.sire("load", "old")
    done = home.sire("estimate", weights("new.safetensors", 20)).stdout.decode()
    assert "after eviction of old" in done
    (report,) = home.json("estimate", weights("new.safetensors", 20))
    assert report["devices"][0]["evicts"] == ["old"]


def test_a_file_that_is_no_model_is_an_error_and_a_device_there_is_not_as_well(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("hello")
    home.sire("estimate", tmp_path / "x", code=9)
    home.sire("estimate", tmp_path / "missing", code=3)
    home.sire("estimate", tmp_path / "x", "--device", "cuda:9", code=3)


def test_of_what_only_its_runtime_knows_the_size_counts(home: Home, tmp_path: Path) -> None:
    (tmp_path / "weights.gguf").write_bytes(b"GGUF" + bytes(10 * MIB - 4))
    (report,) = home.json("estimate", tmp_path, "--runtime", "command")
    assert report["weight_bytes"] == 10 * MIB


def test_a_checkpoint_is_told_from_what_else_was_saved_with_it_by_its_class(
    home: Home, zoo: Path, tmp_path: Path
) -> None:
    state = {name: torch.zeros(MIB) for name in ("exp_avg", "exp_avg_sq")}
    torch.save({"model": {"weight": torch.zeros(MIB)}, "optimizer": state}, tmp_path / "last.pt")
    (whole,) = home.json("estimate", tmp_path / "last.pt")
    assert whole["weight_bytes"] >= 12 * MIB
    named = "--class", f"{zoo / 'classes.py'}:Scale", "--arg", f"width={MIB}"
    (by_class,) = home.json("estimate", tmp_path / "last.pt", *named)
    assert by_class["weight_bytes"] == 4 * MIB
    (half,) = home.json("estimate", tmp_path / "last.pt", *named, "--arg", "dtype=fp16")
    assert half["weight_bytes"] == 2 * MIB


def test_a_class_of_ones_own_is_asked_before_anything_is_loaded(
    home: Home, tmp_path: Path, new_name: str
) -> None:
    (tmp_path / "lookup.py").write_text(OWN)
    (tmp_path / "table.bin").write_bytes(b"1")
    named = "--class", f"{tmp_path / 'lookup.py'}:Lookup", "--arg", "mebibytes=100"
    (report,) = home.json("estimate", tmp_path / "table.bin", "--runtime", "python", *named)
    assert report["weight_bytes"] == 100 * MIB
    home.register(new_name, tmp_path / "table.bin", "--runtime", "python", *named)
    wait_until(lambda: footprint(home, new_name) == ("estimated", 132 * MIB))


@pytest.mark.own_daemon
def test_who_registers_before_there_are_workers_does_not_wait_for_one(
    home: Home, tmp_path: Path
) -> None:
    (tmp_path / "lookup.py").write_text(OWN.replace("mebibytes=0", "mebibytes=100"))
    home.register("m", tmp_path / "lookup.py")
    home.sire("pin", "m")
    wait_until(lambda: footprint(home, "m") == ("estimated", 132 * MIB))
    assert home.json("show", "m")["model"]["pinned"]
    home.sire("daemon", "restart")
    assert footprint(home, "m") == ("estimated", 132 * MIB)


@pytest.mark.parametrize("ends", ["raise SystemExit(3)", "import os; os._exit(3)", "return 'much'"])
def test_where_a_class_cannot_tell_its_file_does(home: Home, tmp_path: Path, ends: str) -> None:
    told = OWN.replace("return self.mebibytes << 20", ends)
    (tmp_path / "lookup.py").write_text(told)
    file = tmp_path / "lookup.py"
    (report,) = home.json("estimate", file, "--class", f"{file}:Lookup")
    assert report["weight_bytes"] == len(told)
    assert report["problem"]


def test_of_the_files_of_a_directory_nothing_is_imported(
    home: Home, weights: Callable[..., Any], tmp_path: Path
) -> None:
    directory = tmp_path / "download"
    directory.mkdir()
    weights("download/model.safetensors", 1)
    code = f"open({str(tmp_path / 'imported')!r}, 'w')\n{OWN}"
    for name in ("modeling_nice.py", "torch.py", "sitecustomize.py"):
        (directory / name).write_text(code)
    first, *others = home.json("estimate", *sorted(directory.iterdir()))
    assert first["weight_bytes"] == MIB
    for report in others:
        assert report["weight_bytes"] == len(code)
        assert "only if you name its class" in report["problem"]
    assert not (tmp_path / "imported").exists()


def test_why_a_class_cannot_be_asked_is_said(home: Home, tmp_path: Path) -> None:
    (tmp_path / "lookup.py").write_text(OWN)
    told = home.sire("estimate", tmp_path / "lookup.py", "--class", f"{tmp_path / 'lookup.py'}:No")
    assert b"The class 'No' is not defined in" in told.stderr

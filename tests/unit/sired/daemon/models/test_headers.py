"""Headers of model files, read in a process of their own."""

import os
import signal
import struct
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from onnx import helper
from safetensors.numpy import save_file

from sire.errors import InvalidModel, ModelNotFound, UntrustedModel
from sire.spec import ModelSpec
from sired.daemon.models.headers import HeaderReaders
from sired.daemon.models.registration import inspect
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def readers() -> Iterator[HeaderReaders]:
    readers = HeaderReaders()
    readers.start()
    yield readers
    readers.close()


@pytest.fixture(scope="module")
def strict() -> Iterator[HeaderReaders]:
    """Allows a second of the processor, which these files take many times over."""
    readers = HeaderReaders(cpu_seconds=1)
    yield readers
    readers.close()


def spec_of(path: Path, **given: Any) -> ModelSpec:
    return ModelSpec("m", str(path), **given)


def processes() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children()
        if any("header_process" in word for word in child.cmdline())
    ]


def started_since(before: set[int]) -> list[psutil.Process]:
    """Wait for new ones: just after it was executed, a process has no command line yet."""
    return wait_until(lambda: [one for one in processes() if one.pid not in before])


def test_what_it_reads_is_what_reading_here_gives(readers: HeaderReaders, tmp_path: Path) -> None:
    save_file({"w": np.ones(3, "f4")}, tmp_path / "m.safetensors")
    spec = spec_of(tmp_path / "m.safetensors", model_class="a:B", args={"x": [1, None, 2.5]})
    assert readers.inspect(spec) == inspect(spec)
    assert readers.files(readers.inspect(spec)) == [tmp_path / "m.safetensors"]


def test_names_of_files_need_not_be_text(readers: HeaderReaders, tmp_path: Path) -> None:
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/\xff.bin")
    with open(odd, "wb") as file:
        file.write(b"x")
    spec = spec_of(tmp_path, runtime="command", format="")
    assert [str(path) for path in readers.files(spec)] == [odd]


def test_errors_keep_their_type_text_and_hint(readers: HeaderReaders, tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound) as missing:
        readers.inspect(spec_of(tmp_path / "missing"))
    assert missing.value.details == {"path": str(tmp_path / "missing")}
    torch = pytest.importorskip("torch")
    torch.save(torch.nn.Linear(1, 1), tmp_path / "m.pt")
    with pytest.raises(UntrustedModel, match="contains more than weights") as pickled:
        readers.inspect(spec_of(tmp_path / "m.pt"))
    assert "--trust" in pickled.value.hint


def lists(path: Path) -> None:
    text = b'{"a":{"x":[' + b"[]," * 30_000_000 + b"[]]}}"
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"x")


def entries(path: Path) -> None:
    """A zip file whose directory has its one entry 2,000,000 times."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data/0", b"")
    content = path.read_bytes()
    start, end = content.index(b"PK\1\2"), content.index(b"PK\5\6")
    directory = content[start:end] * 2_000_000
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 65535, 65535, len(directory), start, 0)
    path.write_bytes(content[:start] + directory + last)


def opcodes(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", b"\x80\x02" + b"N0" * 4_000_000 + b"N.")


def nodes(path: Path) -> None:
    node = helper.make_node("Add", ["a", "a"], ["a"]).SerializeToString()
    one = b"\x0a" + bytes([len(node)]) + node
    graph = one * 1_100_000
    path.write_bytes(b"\x08\x09" + b"\x3a" + varint(len(graph)) + graph)


def varint(value: int) -> bytes:
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def config(path: Path) -> None:
    path.mkdir()
    (path / "config.json").write_bytes(b'{"model_type":"bert","a":[' + b"[]," * 20_000_000 + b"1]}")
    save_file({"w": np.ones(1, "f4")}, path / "model.safetensors")


@pytest.mark.parametrize("make", [lists, entries, opcodes, nodes, config])
def test_a_file_that_takes_too_much_is_refused_with_the_figures(
    strict: HeaderReaders, tmp_path: Path, make: Callable[..., Any]
) -> None:
    make(tmp_path / "m")
    readers = strict
    before = psutil.Process().memory_info().rss
    with pytest.raises(InvalidModel, match=r"more than|up to|maximum") as refused:
        readers.inspect(spec_of(tmp_path / "m"))
    assert str(tmp_path / "m") in str(refused.value)
    assert any(digit.isdigit() for digit in refused.value.message.replace(str(tmp_path), ""))
    assert psutil.Process().memory_info().rss - before < 20 << 20
    save_file({"w": np.ones(3, "f4")}, tmp_path / "good")
    assert readers.inspect(spec_of(tmp_path / "good", model_class="a:B")).weight_bytes == 12


def program(path: Path, text: bytes, name: str = "models/model.json") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("m/archive_format", "pt2")
        archive.writestr(f"m/{name}", text)


def many_values(path: Path) -> None:
    """A program with a million values in its graph, just below what is read of one."""
    values = b",".join(b'"v%d":{"dtype":7,"sizes":[{"as_int":1}]}' % n for n in range(1_000_000))
    program(path, b'{"graph_module":{"graph":{"tensor_values":{' + values + b"}}}}")


def many_inputs(path: Path) -> None:
    """One that states half a million inputs."""
    spec = b'{"user_input":{"arg":{"as_tensor":{"name":"x"}}}}'
    program(
        path,
        b'{"graph_module":{"graph":{"tensor_values":{"x":{"dtype":7,"sizes":[]}}},"signature":'
        b'{"input_specs":[' + b",".join([spec] * 500_000) + b'],"output_specs":[]},'
        b'"module_call_graph":[]}}',
    )


def nested(path: Path) -> None:
    """JSON that is nested as deeply as fits."""
    program(path, b'{"graph_module":' + b"[" * 30_000_000)


def bomb(path: Path) -> None:
    """A program that unpacks to gigabytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("m/archive_format", "pt2")
        with archive.open("m/models/model.json", "w", force_zip64=True) as file:
            for _ in range(320):
                file.write(bytes(1 << 20))


def understated(path: Path) -> None:
    """One that unpacks to more than its directory says."""
    program(path, b" " * (63 << 20) + b"{" * (1 << 20))
    content = bytearray(path.read_bytes())
    place = content.rindex(b"PK\1\2")
    struct.pack_into("<I", content, place + 24, 10)
    path.write_bytes(content)


def code(path: Path) -> None:
    """A TorchScript archive whose code is made for a slow search."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/constants.pkl", b"\x80\x02).")
        archive.writestr("m/data.pkl", b"\x80\x02c__torch__\nM\n.")
        text = b"class M(Module):\n" + b"  def forward(self: M, " * 50_000
        archive.writestr("m/code/__torch__.py", text)


@pytest.mark.parametrize("make", [many_values, many_inputs, nested, bomb, understated, code])
def test_a_hostile_program_takes_no_more_than_the_limits(
    strict: HeaderReaders, tmp_path: Path, make: Callable[..., Any]
) -> None:
    make(tmp_path / "m")
    before = psutil.Process().memory_info().rss
    try:
        found = strict.inspect(spec_of(tmp_path / "m", trusted=True))
    except InvalidModel as refused:
        assert str(tmp_path / "m") in str(refused)
    else:
        assert found.stated.inputs == ()
        assert found.notes == ()
    assert psutil.Process().memory_info().rss - before < 20 << 20
    save_file({"w": np.ones(3, "f4")}, tmp_path / "good")
    assert strict.inspect(spec_of(tmp_path / "good", model_class="a:B")).weight_bytes == 12


def test_one_that_takes_long_delays_no_other(tmp_path: Path) -> None:
    readers = HeaderReaders()
    before = {process.pid for process in processes()}
    readers.start()
    (busy,) = started_since(before)
    busy.send_signal(signal.SIGSTOP)
    save_file({"w": np.ones(3, "f4")}, tmp_path / "m")
    spec, found = spec_of(tmp_path / "m", model_class="a:B"), []
    waiting = threading.Thread(target=lambda: found.append(readers.inspect(spec)))
    waiting.start()
    wait_until(lambda: not readers._idle)
    assert readers.inspect(spec).weight_bytes == 12
    assert waiting.is_alive()
    busy.send_signal(signal.SIGCONT)
    waiting.join(60)
    assert found[0].weight_bytes == 12
    readers.close()


def test_one_that_never_ends_is_given_up(tmp_path: Path) -> None:
    readers = HeaderReaders(patience=0.2)
    before = {process.pid for process in processes()}
    readers.start()
    (stuck,) = started_since(before)
    stuck.send_signal(signal.SIGSTOP)
    (tmp_path / "m").write_bytes(b"x")
    with pytest.raises(InvalidModel, match=r"takes more than 0\.2 s"):
        readers.inspect(spec_of(tmp_path / "m"))
    assert not stuck.is_running()


def test_a_process_that_was_killed_is_replaced(readers: HeaderReaders, tmp_path: Path) -> None:
    save_file({"w": np.ones(3, "f4")}, tmp_path / "m")
    readers.inspect(spec_of(tmp_path / "m", model_class="a:B"))
    for process in processes():
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert readers.inspect(spec_of(tmp_path / "m", model_class="a:B")).weight_bytes == 12


def test_what_a_file_states_of_itself_has_a_bound(readers: HeaderReaders, tmp_path: Path) -> None:
    value = helper.make_tensor_value_info("x" * 4000, 1, [1])
    inputs = [value] * 100
    model = helper.make_model(helper.make_graph([], "g", inputs, []))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InvalidModel, match="the maximum is 256 KiB"):
        readers.inspect(spec_of(tmp_path / "m.onnx"))


def test_closing_ends_the_processes(tmp_path: Path) -> None:
    readers = HeaderReaders()
    before = {process.pid for process in processes()}
    readers.start()
    (started,) = started_since(before)
    readers.close()
    assert not started.is_running()

"""Model files that lie or run code are refused, and nothing of them runs.

Each trick is played on Python's own unpickler as well, where it does its harm: otherwise it would
prove nothing that it does none here.
"""

import io
import pickle
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sire.client.connection import Connection
from sire.errors import InvalidInput, InvalidModel, SireError, UntrustedModel
from sire.protocol import content
from sire.protocol.content import Payload
from sire.protocol.replies import HealthReport
from sire.protocol.requests import Health, Load, Predict, Register
from sire.spec import ImageOptions, ModelSpec, Signature
from sired.codecs import decode
from sired.runtimes.discovery import find_runtime, find_traits
from sired.runtimes.pytorch.runtime import PyTorchRuntime
from sired.store.formats import recognise
from tests.fuzz.daemon import KEPT
from tests.fuzz.model_headers import onnx_with_weights_in
from tests.fuzz.pickles import FILES, TRICKS, creating, pickled


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    return tmp_path / "witness"


@pytest.fixture
def pytorch() -> PyTorchRuntime:
    runtime = find_runtime("pytorch")
    assert isinstance(runtime, PyTorchRuntime)
    return runtime


@pytest.fixture
def scale(zoo: Path) -> str:
    return f"{zoo}/classes.py:Scale"


# Pickles


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("trick", TRICKS)
def test_what_runs_when_it_is_unpickled_does_not_run_here(
    pytorch: PyTorchRuntime, tmp_path: Path, witness: Path, scale: str, trick: str
) -> None:
    bad = pickled(trick, creating(witness))
    for kind, write in FILES.items():
        path = tmp_path / kind
        path.write_bytes(write(bad))
        with pytest.raises((InvalidModel, UntrustedModel)):
            pytorch.load(str(path), format=_recognised(path), model_class=scale)
        assert not witness.exists(), kind
    pickle.loads(bad)
    assert witness.exists(), "it is no trick"


def _recognised(path: Path) -> str:
    try:
        return recognise(path).name
    except InvalidModel:  # it goes no further; had it been told otherwise it would have to
        return "state_dict"


@pytest.mark.parametrize("kind", FILES)
def test_the_files_are_such_as_pytorch_unpickles(tmp_path: Path, witness: Path, kind: str) -> None:
    (tmp_path / "m").write_bytes(FILES[kind](pickled("exec", creating(witness))))
    try:
        torch.load(tmp_path / "m", weights_only=False)
    except Exception:  # it has done its harm
        pass
    assert witness.exists()


def test_arrays_of_python_objects_are_not_read(witness: Path) -> None:
    class Trick:
        def __reduce__(self) -> Any:
            return (exec, (creating(witness),))

    for kind, save in ((content.NPY, np.save), (content.NPZ, np.savez)):
        buffer = io.BytesIO()
        save(buffer, np.array([Trick()], object), allow_pickle=True)
        with pytest.raises(InvalidInput, match="Python objects"):
            decode(Payload(kind, (buffer.getvalue(),)), Signature(), ImageOptions())
        assert not witness.exists()
    buffer.seek(0)
    list(np.load(buffer, allow_pickle=True).values())
    assert witness.exists()


def test_a_pickle_among_the_constants_of_a_program_is_not_read(
    pytorch: PyTorchRuntime, tmp_path: Path, witness: Path
) -> None:
    class Program(torch.nn.Module):
        shift: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("shift", torch.ones(2), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + self.shift

    torch.export.save(torch.export.export(Program(), (torch.ones(2),)), tmp_path / "good.pt2")
    bad = FILES["old"](pickled("exec", creating(witness)))
    with zipfile.ZipFile(tmp_path / "good.pt2") as old, zipfile.ZipFile(tmp_path / "m", "w") as new:
        for entry in old.infolist():
            is_pickle = "constants" in entry.filename
            is_pickle &= not entry.filename.endswith(".json")
            packed = old.read(entry).replace(b'"use_pickle": false', b'"use_pickle": true')
            new.writestr(entry.filename, bad if is_pickle else packed)
    found = recognise(tmp_path / "m")
    file_format = find_traits("pytorch").format(found.name)
    assert file_format is not None
    assert file_format.needs_trust == "always"
    with pytest.raises(UntrustedModel):
        pytorch.load(str(tmp_path / "m"), format=found.name)
    assert not witness.exists()
    try:
        with (tmp_path / "m").open("rb") as file:
            torch.export.load(file)
    except Exception:  # it has done its harm
        pass
    assert witness.exists()


def test_a_daemon_refuses_tricks_when_they_are_registered_or_loaded(
    connection: Connection, tmp_path: Path, witness: Path, scale: str
) -> None:
    for trick in ("exec", "torch.load"):
        path = tmp_path / trick
        path.write_bytes(FILES["zip"](pickled(trick, creating(witness))))
        with pytest.raises((UntrustedModel, InvalidModel)):
            connection.ask(Register(model=ModelSpec("bad", str(path)), replace=True))
        with pytest.raises(UntrustedModel, match="none of its code has run"):
            connection.ask(
                Register(model=ModelSpec("bad", str(path), model_class=scale), replace=True)
            )
    assert not witness.exists()
    assert connection.ask(Predict(model=KEPT), [b"[1, 1, 1, 1]"])


# Files that promise more than they hold


def safetensors(header: bytes, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + body


def entry(dtype: str = "F32", shape: str = "[4]", offsets: str = "[0, 16]") -> bytes:
    return f'{{"dtype":"{dtype}","shape":{shape},"data_offsets":{offsets}}}'.encode()


@pytest.mark.parametrize(
    "data",
    [
        safetensors(b'{"a":' + entry() + b',"b":' + entry() + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(offsets="[0, 99]") + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(offsets="[-16, 0]") + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(offsets="[16, 0]") + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(offsets="[4, 20]") + b"}", bytes(20)),
        safetensors(b'{"a":' + entry(offsets="[0, 99999999999999999999]") + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(shape="[4611686018427387904, 4]") + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(shape="[-4]") + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(dtype="F64") + b"}", bytes(16)),
        safetensors(b'{"a":' + entry(shape="[0]") + b"}", bytes(16)),
        safetensors(b'{"a":{"b":' + b"[" * 9_000),
        struct.pack("<Q", 2**64 - 1) + b"{}",
        struct.pack("<Q", 100 << 20) + b"{" + bytes(64),
        b"\xff" * 8 + b"{",
    ],
    ids=[
        *("overlapping", "beyond the end", "negative", "backwards", "a hole", "huge", "huge shape"),
        *("negative shape", "wrong dtype", "no shape", "deep", "long", "longer", "longest"),
    ],
)
def test_a_safetensors_header_that_lies_is_refused_when_it_is_registered(
    tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(InvalidModel):
        recognise(tmp_path / "m")


def test_an_archive_that_unpacks_to_far_more_is_refused_unopened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data/0", bytes(300 << 20))
    assert (tmp_path / "m").stat().st_size < 1 << 20
    for name in ("a.npy", "m/data.pkl", "m/archive_format"):  # as npz, pt and pt2 begin
        with zipfile.ZipFile(tmp_path / "m", "a") as archive:
            archive.writestr(name, b"x")
        with pytest.raises(InvalidModel, match="unpacks from"):
            recognise(tmp_path / "m")


def test_an_archive_whose_directory_lies_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(4)}, tmp_path / "m")
    data = bytearray((tmp_path / "m").read_bytes())
    for place in _directory(data):
        data[place + 24 : place + 28] = struct.pack("<I", 0xFFFFFFF0)  # the size unpacked
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(InvalidModel):
        recognise(tmp_path / "m")


def _directory(data: Any) -> Iterator[Any]:
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        yield place
        place = data.find(b"PK\x01\x02", place + 4)


def test_an_archive_with_a_damaged_table_was_an_unexpected_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "m", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data.pkl", pickle.dumps({"a": list(range(1000))}))
    data = bytearray((tmp_path / "m").read_bytes())
    data[60:80] = b"\xff" * 20
    (tmp_path / "m").write_bytes(data)
    with pytest.raises(InvalidModel, match="damaged or truncated zip file"):
        recognise(tmp_path / "m")


def test_a_pickle_with_an_endless_text_took_all_memory(tmp_path: Path) -> None:
    endless = b"\x80\x04\x8d" + struct.pack("<Q", 1 << 61)
    (tmp_path / "m").write_bytes(FILES["old"](endless))
    with pytest.raises(InvalidModel, match="damaged"):
        recognise(tmp_path / "m")


# Files that point elsewhere

PLACES = ("initializer", "constant", "branch", "function", "sparse")


@pytest.fixture
def secret(tmp_path: Path) -> tuple[Path, ...]:
    """A file outside of the model's directory, and that directory."""
    (tmp_path / "secret").write_bytes(bytes(16))
    (tmp_path / "model").mkdir()
    return tmp_path / "secret", tmp_path / "model"


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("way", ["relative", "absolute", "link"])
def test_weights_of_an_onnx_file_outside_of_its_directory_are_refused(
    secret: tuple[Path, ...], way: str, place: str
) -> None:
    file, directory = secret
    (directory / "w").symlink_to(file)
    location = {"relative": "../secret", "absolute": str(file), "link": "w"}[way]
    (directory / "m.onnx").write_bytes(onnx_with_weights_in(location, place))
    with pytest.raises(InvalidModel, match="outside of its directory"):
        recognise(directory / "m.onnx")


@pytest.mark.parametrize("way", ["relative", "absolute"])
def test_a_worker_that_is_given_such_a_file_does_not_read_it_either(
    secret: tuple[Path, ...], way: str
) -> None:
    file, directory = secret
    location = "../secret" if way == "relative" else str(file)
    (directory / "m.onnx").write_bytes(onnx_with_weights_in(location, "initializer"))
    with pytest.raises(InvalidModel):
        find_runtime("onnx").load(str(directory / "m.onnx"))


def test_weights_that_are_links_to_files_beside_each_other_are_taken(tmp_path: Path) -> None:
    """As the cache of the Hugging Face hub has them."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "a").write_bytes(onnx_with_weights_in("w", "initializer"))
    (blobs / "b").write_bytes(bytes(16))
    (snapshot / "m.onnx").symlink_to(blobs / "a")
    (snapshot / "w").symlink_to(blobs / "b")
    assert recognise(snapshot / "m.onnx").weight_bytes == (blobs / "a").stat().st_size + 16


def test_a_hard_link_is_a_file_of_its_directory(secret: tuple[Path, ...]) -> None:
    """It cannot be told from one: SECURITY.md says so."""
    file, directory = secret
    (directory / "w").hardlink_to(file)
    (directory / "m.onnx").write_bytes(onnx_with_weights_in("w", "initializer"))
    size = (directory / "m.onnx").stat().st_size
    assert recognise(directory / "m.onnx").weight_bytes == size + 16


def test_weights_under_a_name_too_long_for_any_file_are_missed(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(onnx_with_weights_in("x" * 4000, "initializer"))
    with pytest.raises(InvalidModel, match="which does not exist"):
        recognise(tmp_path / "m")


def test_an_onnx_file_of_millions_of_empty_fields_was_read_for_minutes(tmp_path: Path) -> None:
    (tmp_path / "m").write_bytes(b"\x08\x08" + b"\x42\x00" * 1_500_000)
    with pytest.raises(InvalidModel, match="more than 1000000 fields"):
        recognise(tmp_path / "m")


def field(number: int, body: bytes) -> bytes:
    """A field of a protocol buffer."""
    return bytes([number << 3 | 2, 0x80 | len(body) & 0x7F, len(body) >> 7]) + body


def test_graphs_in_graphs_without_end_are_damage(tmp_path: Path) -> None:
    graph = field(2, b"location")
    for _ in range(60):
        graph = field(1, field(5, field(6, graph))) + field(2, b"location")
    (tmp_path / "m").write_bytes(b"\x08\x08" + field(7, graph))
    with pytest.raises(InvalidModel, match="nested too deeply"):
        recognise(tmp_path / "m")


@pytest.mark.parametrize("place", ["../other", "/etc", "a/../../other"])
def test_a_directory_that_names_another_one_as_its_own_is_refused(
    tmp_path: Path, place: str
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/modules.json").write_text(f'[{{"type": "Transformer", "path": "{place}"}}]')
    with pytest.raises(InvalidModel, match="outside of it"):
        recognise(tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("modules.json", '["a", 1, null]'),
        ("config.json", '{"a": ' + "[" * 9_000),
        ("config.json", b"\xff"),
        ("model.safetensors.index.json", '{"weight_map": {"a": "' + "x" * 300 + '"}}'),
        ("model.safetensors.index.json", '{"weight_map": {"a": "b\\u0000c"}}'),
    ],
    ids=["modules", "deep", "no text", "long", "nul"],
)
def test_a_directory_whose_files_are_odd_was_an_unexpected_error(
    tmp_path: Path, name: str, text: str | bytes
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "x"}')
    if name == "modules.json":
        (tmp_path / "config.json").unlink()
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidModel):
        recognise(tmp_path)


def test_a_daemon_that_was_shown_every_bad_file_is_well(
    connection: Connection, tmp_path: Path, scale: str
) -> None:
    files = {
        "tensors": safetensors(b'{"a":' + entry(offsets="[0, 99]") + b"}", bytes(16)),
        "graph": onnx_with_weights_in("/etc/passwd", "constant"),
        "nothing": b"nothing at all",
        "half": FILES["zip"](b"")[:200],
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(SireError) as caught:
            connection.ask(Register(model=ModelSpec(name, str(tmp_path / name), model_class=scale)))
        assert caught.value.code == "InvalidModel"
    assert connection.expect(HealthReport, Health()).problems == ()


def test_weights_that_were_replaced_after_they_were_registered_harm_only_their_worker(
    connection: Connection, tmp_path: Path, zoo: Path, scale: str
) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes((zoo / "x2.safetensors").read_bytes())
    connection.ask(
        Register(model=ModelSpec("replaced", str(path), model_class=scale), replace=True)
    )
    path.write_bytes(safetensors(b'{"weight":' + entry(offsets="[0, 999]") + b"}", bytes(16)))
    with pytest.raises(InvalidModel, match=r"damaged safetensors header: F32\[4\] in 999 bytes"):
        connection.ask(Load(name="replaced"))
    assert connection.ask(Predict(model=KEPT), [b"[1, 1, 1, 1]"])

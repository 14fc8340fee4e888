"""What PyTorch says about a file that it does not read is told in our words.

Its own advise to load the file all the same.
"""

import io
import os
import pickle
import tarfile
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sire.errors import InvalidModel, SireError, UntrustedModel
from sire.spec import Signature
from sired.runtimes.reading import ReadProgress
from sired.runtimes.support.library_errors import reason_of

if TYPE_CHECKING:
    from sired.runtimes.pytorch.unpickling import Unpickled

torch = pytest.importorskip("torch")

ADVICE = (
    *("weights_only", "safe_globals", "add_safe", "torch.load", "http", "\x1b", "WeightsUnpickler"),
    *("only if you trust", "do so only", "file an issue", "set `", "from_tf", "allowlist"),
)
CODE = {"needs": "code"}
Write = Callable[[Path], object]


class Trick:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


class Persistent(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return ("not a storage", 1) if obj == "away" else None


def zipped(path: Path, content: bytes, **others: bytes) -> None:
    """A file like those of torch.save, with this pickle."""
    parts = {"data.pkl": content, "version": b"3\n", "byteorder": b"little", **others}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(f"m/{name}", data)


def saved_state() -> bytes:
    file = io.BytesIO()
    torch.save({"w": torch.ones(300)}, file)
    return file.getvalue()


def a_function(path: Path) -> None:
    torch.save({"w": torch.ones(2), "x": Trick(os.system, "true")}, path)


def a_function_in_the_old_format(path: Path) -> None:
    content = {"w": torch.ones(2), "x": Trick(os.system, "true")}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def a_blocked_module(path: Path) -> None:
    zipped(path, b"\x80\x02csys\nexit\n.")


def a_call_of_what_is_no_function(path: Path) -> None:
    zipped(path, b"\x80\x02ccollections\nOrderedDict\n)RK\x01)R.")


def an_object_of_another_kind(path: Path) -> None:
    file = io.BytesIO()
    Persistent(file, 2).dump({"x": "away"})
    zipped(path, file.getvalue())


def a_persistent_object_in_text(path: Path) -> None:
    zipped(path, b"\x80\x02Paway\n.")


def a_pickle_of_a_later_protocol(path: Path) -> None:
    zipped(path, pickle.dumps(OrderedDict(a=1), 4))


def a_tar(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            entry = tarfile.TarInfo(name)
            archive.addfile(entry, io.BytesIO())


def torchscript(path: Path) -> None:
    torch.jit.script(torch.nn.Linear(1, 1)).save(str(path))


def a_truncated_zip(path: Path) -> None:
    path.write_bytes(saved_state()[:-200])


def a_zip_without_its_storage(path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(saved_state())) as archive:
        (table,) = (name for name in archive.namelist() if name.endswith("data.pkl"))
        zipped(path, archive.read(table))


def a_truncated_pickle(path: Path) -> None:
    zipped(path, b"\x80\x02}q\x00(")


def an_instruction_that_does_not_exist(path: Path) -> None:
    zipped(path, b"\x80\x02\xff.")


def an_empty_stack(path: Path) -> None:
    zipped(path, b"\x80\x02aa.")


def a_truncated_file_of_the_old_format(path: Path) -> None:
    torch.save({"w": torch.ones(300)}, path, _use_new_zipfile_serialization=False)
    path.write_bytes(path.read_bytes()[:-600])


def garbage(path: Path) -> None:
    path.write_bytes(b"\7garbage" * 200)


REFUSED: dict[Write, tuple[type[SireError], str]] = {
    a_function: (UntrustedModel, r"would run posix\.system"),
    a_function_in_the_old_format: (UntrustedModel, r"would run posix\.system"),
    a_blocked_module: (UntrustedModel, r"would run sys\.exit"),
    a_call_of_what_is_no_function: (UntrustedModel, "contains more than weights|would run"),
    an_object_of_another_kind: (UntrustedModel, "objects that are not tensors"),
    a_persistent_object_in_text: (UntrustedModel, "instructions of pickles"),
    a_pickle_of_a_later_protocol: (UntrustedModel, "instructions of pickles"),
    a_tar: (UntrustedModel, "tar format of 2016"),
    torchscript: (UntrustedModel, "is a TorchScript archive"),
    a_truncated_zip: (InvalidModel, "cannot be read: "),
    a_zip_without_its_storage: (InvalidModel, "cannot be read: "),
    a_truncated_pickle: (InvalidModel, "cannot be read: "),
    an_instruction_that_does_not_exist: (InvalidModel, "its pickle is damaged"),
    an_empty_stack: (InvalidModel, "cannot be read: "),
    a_truncated_file_of_the_old_format: (InvalidModel, "cannot be read: "),
    garbage: (InvalidModel, "cannot be read: |its pickle is damaged"),
}


def read(path: Path, *, trusted: bool = False) -> "Unpickled":
    from sired.runtimes.pytorch.model import TorchLoad
    from sired.runtimes.pytorch.unpickling import unpickle

    job = TorchLoad(
        path=str(path),
        device=torch.device("cpu"),
        model_class=None,
        python_path=(),
        trusted=trusted,
        arguments={},
        declared=Signature(),
        progress=ReadProgress(lambda *_: None),
    )
    return unpickle(job)


def in_our_words(error: SireError) -> bool:
    return not any(advice in f"{error.message} {error.hint}" for advice in ADVICE)


@pytest.mark.parametrize("write", REFUSED, ids=lambda write: write.__name__)
def test_a_file_that_is_not_trusted_is_refused_in_our_words(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "m.pt")
    kind, words = REFUSED[write]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # these would be in the model's log
        with pytest.raises(kind, match=words) as raised:
            read(tmp_path / "m.pt")
    assert in_our_words(raised.value)
    assert raised.value.__suppress_context__


@pytest.mark.parametrize("write", [a_truncated_zip, a_truncated_pickle, a_tar, garbage])
def test_so_is_a_damaged_one_that_is_trusted(tmp_path: Path, write: Write) -> None:
    write(tmp_path / "m.pt")
    with pytest.raises(InvalidModel) as raised:
        read(tmp_path / "m.pt", trusted=True)
    assert in_our_words(raised.value)


@pytest.mark.parametrize("write", [a_function, a_tar, a_truncated_zip])
def test_so_are_the_weights_of_a_hugging_face_directory(tmp_path: Path, write: Write) -> None:
    transformers = pytest.importorskip("transformers")
    from sired.runtimes.huggingface.loading import errors_translated

    config = transformers.BertConfig(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
    )
    config.save_pretrained(tmp_path)
    write(tmp_path / "pytorch_model.bin")
    kind, words = REFUSED[write]
    with pytest.raises(kind, match=words) as raised, errors_translated(str(tmp_path)):
        transformers.AutoModel.from_pretrained(tmp_path, use_safetensors=False)
    assert in_our_words(raised.value)
    assert "--trust" not in raised.value.hint  # it would not help


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("failed finding central directory", "failed finding central directory"),
        ("It is short. Please use `torch.load` with weights_only=False.", "It is short."),
        ("If you trust the source, set weights_only=False", "the library reports ValueError"),
        ("", "the library reports ValueError"),
    ],
)
def test_advice_is_left_out_of_reasons(said: str, kept: str) -> None:
    assert reason_of(ValueError(f"{said}\nSee https://pytorch.org")) == kept

"""Recognises files of other libraries, and states how to run them. Nothing is unpickled."""

import bz2
import itertools
import lzma
import pickletools
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Bytes that are read, and bytes that a compressed file is unpacked to.
_BEGINNING = 1 << 20
_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "UNICODE", "SHORT_BINSTRING"}
_MOST_OPCODES = 200

_SERVER = (
    "Run it as a program: sire register NAME {path} --health /health --arg endpoint=/completion "
    "--cmd 'llama-server -m {{path}} --host 127.0.0.1 --port {{port}}'"
)
_CLASS = """Put a class into a file, such as model.py:
    {imports}
    class Model:
        def load(self, path):
            self.model = {load}
        def predict(self, data):
            return {predict}
and register it: sire register NAME {path} --runtime python --class model.py:Model"""

# Of each library: its name, what loads a file, and how its model predicts.
_LIBRARIES = {
    "sklearn": ("scikit-learn", "joblib", "joblib.load(path)", "self.model.predict(data)"),
    "lightgbm": ("LightGBM", "joblib", "joblib.load(path)", "self.model.predict(data)"),
    "xgboost": ("XGBoost", "joblib", "joblib.load(path)", "self.model.predict(data)"),
    "catboost": ("CatBoost", "joblib", "joblib.load(path)", "self.model.predict(data)"),
}
_LIGHTGBM_TEXT = (
    "lightgbm",
    "lightgbm.Booster(model_file=path)",
    "self.model.predict(data)",
)
_XGBOOST = (
    "xgboost",
    "xgboost.Booster(model_file=path)",
    "self.model.predict(xgboost.DMatrix(data))",
)
_CATBOOST = (
    "catboost",
    "catboost.CatBoost().load_model(path)",
    "self.model.predict(data)",
)
_KERAS = ("keras", "keras.models.load_model(path)", "self.model.predict(data)")
_DECOMPRESSORS: tuple[tuple[bytes, Callable[[], Any]], ...] = (
    (b"\x78", zlib.decompressobj),
    (b"\x1f\x8b", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", lzma.LZMADecompressor),
    (b"\x5d\x00\x00", lzma.LZMADecompressor),
)


def recognise_other(path: Path) -> tuple[str, str] | None:
    """What a file of another library is, and how to run it; None if it is not recognised.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(_BEGINNING)
    if head.startswith(b"GGUF"):
        return "a GGUF file, which llama.cpp runs", _SERVER.format(path=path)
    if head.startswith(b"tree\nversion="):
        return "a model of LightGBM", _class(path, *_LIGHTGBM_TEXT)
    if head[:1] == b"{" and b"learner" in head[:64]:
        return "a model of XGBoost", _class(path, *_XGBOOST)
    if head.startswith(b"CBM1"):
        return "a model of CatBoost", _class(path, *_CATBOOST)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "an HDF5 file, as Keras writes them", _class(path, *_KERAS)
    return _pickle(path, _unpacked(head))


def _class(path: Path, imports: str, load: str, predict: str) -> str:
    return _CLASS.format(path=path, imports=f"import {imports}", load=load, predict=predict)


def _unpacked(head: bytes) -> bytes:
    """The beginning of what is in a compressed file; other files unchanged."""
    for magic, decompressor in _DECOMPRESSORS:
        if head.startswith(magic):
            try:
                return bytes(decompressor().decompress(head, _BEGINNING))
            except (zlib.error, lzma.LZMAError, OSError, EOFError):
                continue
    return head


def _pickle(path: Path, content: bytes) -> tuple[str, str] | None:
    """A pickle, by the library of its object; None for other files."""
    if content[:1] != b"\x80":
        return None
    names = _names(content)
    for package, (library, *how) in _LIBRARIES.items():
        if any(name.split(".")[0] == package for name in names):
            return f"a model of {library}, pickled", _class(path, *how)
    if not names:
        return None
    return f"a pickle of {names[0]}", _class(
        path, "joblib", "joblib.load(path)", "self.model.predict(data)"
    )


def _names(content: bytes) -> list[str]:
    """The first classes and functions that a pickle refers to, with their modules."""
    names: list[str] = []
    texts = ["", ""]
    try:
        for opcode, argument, _ in itertools.islice(pickletools.genops(content), _MOST_OPCODES):
            if opcode.name == "GLOBAL":
                names.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":  # of the two texts before it
                names.append(".".join(texts))
            elif opcode.name in _STRINGS:
                texts = [texts[1], str(argument)]
    except ValueError:  # arrays of joblib stand between opcodes
        pass
    return names

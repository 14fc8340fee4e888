"""Models by their name on the Hugging Face hub: their directories in its local cache."""

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from sire.errors import InvalidModel, LoadFailed, ModelNotFound, shown

_NAME = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
# The hub still knows old models by such names, as gpt2 and bert-base-uncased.
_WITHOUT_ORGANISATION = re.compile(r"\w+(-\w+)*")
_TRUE = {"1", "ON", "YES", "TRUE"}
# The same weights for other frameworks.
_LEFT_OUT = ("*.h5", "*.msgpack", "*.ot", "*.onnx", "*.tflite", "onnx/*", "openvino/*", "coreml/*")
_DOWNLOAD = """
import sys
from huggingface_hub import snapshot_download
name, revision, *left_out = sys.argv[1:]
try:
    snapshot_download(name, revision=revision, ignore_patterns=left_out)
except Exception as problem:
    sys.exit(f"{type(problem).__name__}: {problem}")
"""


def is_hub_name(text: str) -> bool:
    """Whether a text has the form ``organisation/model`` or ``organisation/model@revision``."""
    return _NAME.fullmatch(text) is not None


def is_short_hub_name(text: str) -> bool:
    """Whether a text may be the name of a model on the hub that lacks its organisation."""
    return _WITHOUT_ORGANISATION.fullmatch(text) is not None


def find_model(text: str, environment: Mapping[str, str] | None = None) -> Path:
    """The directory of a model in the hub's cache; it is downloaded if it is not there.

    Args:
        text: ``organisation/model``, optionally with ``@`` and a branch, tag or commit.
        environment: the source of ``HF_HOME``, ``HF_HUB_CACHE`` and ``HF_HUB_OFFLINE``.

    Raises:
        InvalidModel: the text is not such a name.
        ModelNotFound: it is not in the cache, and ``HF_HUB_OFFLINE`` forbids the download.
        LoadFailed: the download failed.
    """
    variables = os.environ if environment is None else environment
    match = _NAME.fullmatch(text)
    if match is None:
        raise InvalidModel(
            f"{shown(text)} is not the name of a model on the hub.",
            hint="Write organisation/model.",
        )
    name, revision = match["name"], match["revision"] or "main"
    cache = _cache(variables)
    if (found := _snapshot(cache, name, revision)) is not None:
        return found
    if variables.get("HF_HUB_OFFLINE", "").upper() in _TRUE:
        raise ModelNotFound(
            f"{text} is not in the cache {cache}, and HF_HUB_OFFLINE forbids the download.",
            hint="Copy it there, or register a directory.",
        )
    _download(name, revision, variables)
    if (found := _snapshot(cache, name, revision)) is None:
        raise LoadFailed(f"{text} was downloaded, but is not in {cache}.")
    return found


def _cache(variables: Mapping[str, str]) -> Path:
    """The cache directory of the hub's own tools."""
    if cache := variables.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    caches = Path(variables.get("XDG_CACHE_HOME") or "~/.cache")
    return Path(variables.get("HF_HOME") or caches / "huggingface").expanduser() / "hub"


def _snapshot(cache: Path, name: str, revision: str) -> Path | None:
    """The directory of one commit; a branch or a tag is a file that contains its commit."""
    repository = cache / f"models--{name.replace('/', '--')}"
    reference = repository / "refs" / revision
    commit = reference.read_text().strip() if reference.is_file() else revision
    found = repository / "snapshots" / commit
    return found if (found / "config.json").exists() else None


def _download(name: str, revision: str, variables: Mapping[str, str]) -> None:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise LoadFailed(
            f"{name} is not on this machine, and huggingface_hub is not installed.",
            hint="pip install 'sire[hf]'",
        )
    done = subprocess.run(
        [sys.executable, "-c", _DOWNLOAD, name, revision, *_LEFT_OUT],
        env=dict(variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no error was printed"])[-1]
        raise LoadFailed(f"{name} cannot be downloaded: {reason}")

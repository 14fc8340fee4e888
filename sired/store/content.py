"""The files that determine what a model computes, of any format."""

import os
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sire.model_directory import base_of, is_adapter
from sired.store.formats import TRANSFORMERS, files_of

# In a directory in Hugging Face's layout: weights, configs, vocabularies, templates and code. Other
# files there, such as logs and documentation, may change.
_SUFFIXES = frozenset(
    {
        *(".safetensors", ".bin", ".pt", ".pth", ".model", ".spm", ".tiktoken"),
        *(".json", ".txt", ".jinja", ".yaml", ".py"),
    }
)
# Of a directory; one with more is not a model's alone.
_MOST = 1000


def content_files(format_name: str, path: Path, arguments: Mapping[str, Any]) -> list[Path]:
    """The files that determine what a model computes; empty if they are not known.

    Args:
        format_name: as ``recognise`` reports it; "" for none.
        path: of the model.
        arguments: the model's; ``base`` is where the base of an adapter lies.

    Raises:
        InvalidModel: files are missing or damaged.
        OSError: a file cannot be read.
    """
    if not path.is_dir():
        return files_of(format_name, path, arguments)
    directories = [path]
    if format_name == TRANSFORMERS and is_adapter(path):
        directories.append(base_of(path, arguments))
    every = chain.from_iterable(_inside(one, format_name) for one in directories)
    found = list(islice(every, _MOST + 1))
    return sorted(found) if len(found) <= _MOST else []


def _inside(directory: Path, format_name: str) -> Iterator[Path]:
    for root, directories, names in os.walk(directory):
        directories[:] = [name for name in directories if not name.startswith((".", "__pycache__"))]
        for name in names:
            known = format_name != TRANSFORMERS or Path(name).suffix in _SUFFIXES
            if known and not name.startswith(".") and (file := Path(root, name)).is_file():
                yield file

"""What people say about a model, as the definition the daemon keeps."""

import os
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import Any

import msgspec

from sire.client.models.hub import find_model, is_hub_name
from sire.errors import InvalidModel
from sire.spec import (
    ImageOptions,
    KeepAlive,
    ModelSpec,
    Signature,
    TensorSpec,
    check_name,
    check_priority,
    instance_bounds,
    parse_tensor,
)
from sire.units import FOREVER, parse_bytes, parse_duration


def describe_model(
    name: str,
    path: PathLike[str] | str | None,
    runtime: str = "auto",
    *,
    model_class: str | None = None,
    python_path: Sequence[str] = (),
    args: Mapping[str, Any] | None = None,
    device: str = "auto",
    max_memory: str | int | None = None,
    keep_alive: str | float | None = None,
    pin: bool = False,
    priority: str = "normal",
    weight: float = 1.0,
    instances: str | int = 1,
    batch_size: int = 1,
    batch_delay: str | float = 0,
    concurrency: int = 1,
    warmup: PathLike[str] | str | None = None,
    trust: bool = False,
    cache: bool = False,
    inputs: Sequence[str | TensorSpec] = (),
    signature: Signature | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> ModelSpec:
    """Make the definition of a model; relative paths start in the working directory.

    Args:
        name: what it is to be called.
        path: its file or directory; None for one that needs none, like a program's. For the runtime
            huggingface also ``organisation/model``, as it is called on the hub: it is downloaded
            unless it is in the hub's cache.
        runtime: the runtime that loads it, or "auto".
        model_class: ``module:Class``, ``file.py:Class`` or "pickle:".
        python_path: directories to import ``model_class`` from; by default the working directory
            for a module, its own directory for a file.
        args: arguments of the class or the runtime: plain data. With a ``cmd`` among them and
            no runtime named it is "command", and ``directory`` is the working directory.
        device: a device name, or "auto".
        max_memory: a size such as ``2GiB``, or bytes.
        keep_alive: a duration such as ``5m``, "forever", or seconds.
        pin: once loaded, never unload it to make room or for want of use.
        priority: the class of requests that ask for none: high, normal or low.
        weight: its share, against other models' weights, of a device they compete for.
        instances: how many processes hold it: a number, ``1..4``, or "auto".
        batch_size: rows of requests that run together in one pass at most; 1 for none together.
        batch_delay: how long a request waits for others to run with, such as ``5ms``, or seconds.
        concurrency: requests that one process works on at the same time, in threads.
        warmup: an input file to predict once after loading.
        trust: allow loading to run code from the file.
        cache: answer an input it had before from memory.
        inputs: what it takes, as ``TensorSpec`` or as in ``parse_tensor``.
        signature: the same with the outputs; goes before ``inputs``.
        mean: per channel, subtracted from image pixels scaled to 0..1.
        std: per channel, what they are divided by then.

    Raises:
        InvalidModel: a name, argument or input cannot be what was given.
        InvalidConfiguration: a size, duration, priority or number of instances cannot be read.
    """
    reference, import_from = _locate_class(model_class)
    args = dict(args or {})
    if "cmd" in args and model_class is None and runtime in {"auto", "command"}:
        runtime = "command"
        args.setdefault("directory", str(Path.cwd()))
    return ModelSpec(
        name=check_name(name),
        path="" if path is None else _locate_model(path, runtime),
        runtime=runtime,
        model_class=reference,
        python_path=tuple(python_path) or import_from,
        args=_plain(args),
        device=device,
        max_memory=None if max_memory is None else parse_bytes(max_memory),
        keep_alive=parse_keep_alive(keep_alive),
        pinned=pin,
        priority=check_priority(priority),
        weight=weight,
        instances=_instances(instances),
        batch_size=batch_size,
        batch_delay=parse_duration(batch_delay),
        concurrency=concurrency,
        warmup=None if warmup is None else _absolute(warmup),
        trusted=trust,
        cached=cache,
        signature=signature or Signature(inputs=tuple(map(_tensor, inputs))),
        image=ImageOptions(mean=tuple(map(float, mean)), std=tuple(map(float, std))),
    )


def parse_keep_alive(given: str | float | None) -> KeepAlive:
    """Read how long a model is to stay loaded: a duration such as ``5m``, "forever", or seconds.

    Raises:
        InvalidConfiguration: it is no duration.
    """
    if given is None:
        return None
    seconds = parse_duration(given)
    return "forever" if seconds == FOREVER else seconds


def _tensor(given: str | TensorSpec) -> TensorSpec:
    return given if isinstance(given, TensorSpec) else parse_tensor(given)


def _locate_class(model_class: str | None) -> tuple[str | None, tuple[str, ...]]:
    """The reference with an absolute path, and where its imports are to be found."""
    if model_class is None or model_class == "pickle:":
        return model_class, ()
    module, colon, name = model_class.rpartition(":")
    if not (colon and module and name):
        raise InvalidModel(
            f"{model_class!r} does not name a class.",
            hint="Write it like package.module:Class or file.py:Class.",
        )
    if module.endswith(".py"):
        file = _absolute(module)
        return f"{file}:{name}", (str(PurePath(file).parent),)
    return model_class, (str(Path.cwd()),)


def _locate_model(path: PathLike[str] | str, runtime: str) -> str:
    if runtime == "huggingface" and not Path(path).exists() and is_hub_name(str(path)):
        return str(find_model(str(path)))
    return _absolute(path)


def _absolute(path: PathLike[str] | str) -> str:
    # Symbolic links stay: a reload is to follow "latest.onnx" to where it points then.
    return os.path.abspath(path)  # noqa: PTH100


def _instances(given: str | int) -> str:
    text = str(given).strip()
    instance_bounds(text)
    return text


def _plain(args: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in args.items():
        try:
            msgspec.msgpack.encode(value)
        except (TypeError, OverflowError, ValueError) as problem:
            raise InvalidModel(
                f"The argument {key!r} cannot be kept: {problem}.",
                hint="Arguments are numbers, strings, booleans, lists and dicts of them.",
            ) from None
    return dict(args)

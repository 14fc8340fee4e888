"""What a model is, and what a job: the definitions that store, wire and workers share."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from sire.errors import InvalidConfiguration, InvalidModel, shown
from sire.nearest import did_you_mean

# A duration that a message tells: not less than nothing, and a number.
Seconds = Annotated[float, msgspec.Meta(ge=0)]
KeepAlive = Seconds | Literal["forever"] | None
Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
JobState = Literal["pending", "queued", "running", "complete", "failed", "cancelled"]

LONGEST_NAME = 100
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{LONGEST_NAME - 1}}}")
_DTYPES = frozenset(
    {"string", "bool", "float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_TENSOR = re.compile(r"(?:(?P<name>[^\s:]+):)?(?P<dtype>\w+)\[(?P<shape>[-\d,\s]*)\]")


# The axes of an array have 63 bits.
_AXIS = re.compile(r"-1|\d{1,18}")
_COUNT = re.compile(r"\d{1,4}")


class TensorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One array: its name ("" when there is only one), dtype ("float32") and shape.

    In a signature ``-1`` stands for an axis of any length; on the wire every axis is given.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a model takes and gives; empty where it is not known."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def completed_by(self, reported: "Signature") -> "Signature":
        """This one, with the other's inputs or outputs where this one has none."""
        return Signature(self.inputs or reported.inputs, self.outputs or reported.outputs)

    @property
    def batchable(self) -> bool:
        """Whether all that it takes and gives is one row for each of any number of examples."""
        return bool(self.inputs) and all(
            tensor.shape[:1] == (-1,) for tensor in (*self.inputs, *self.outputs)
        )


class ImageOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How the pixels of an image file become the model's numbers.

    Pixels are scaled to 0..1 (for a floating point input), then ``(x - mean) / std`` per channel.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered model.

    Attributes:
        path: absolute path of the file or directory; "" for a model without one.
        runtime: name of the runtime that loads it; "auto" until the registry recognised the file.
        format: what the file was recognised as (``safetensors``, ``onnx``, …).
        model_class: ``module:Class``, ``/abs/file.py:Class`` or ``pickle:<digest>``.
        python_path: directories put on the import path before ``model_class`` is imported.
        args: arguments of the model class, or of the runtime where there is no class.
        device: a device name, or "auto".
        max_memory: bytes the user says it needs at most.
        keep_alive: seconds it stays loaded after its last use; None is the daemon's default.
        priority: the class of requests that ask for none.
        weight: its share, against other models' weights, of a device they compete for.
        instances: how many processes hold it: "2", "1..4", or "auto" (see ``instance_bounds``).
        batch_size: rows of requests that run together at most.
        batch_delay: seconds a request waits for others to run with.
        concurrency: requests that one process works on at the same time, where its runtime can.
        warmup: absolute path of an input file predicted once after loading.
        cached: whether the answer to an input it had before may come from memory.
        signature: what it takes, where the user declared it.
        fingerprint: digest of size and sampled content: the same file, however it is called.
        weight_bytes: bytes of the weights as the file states them.
        registered_at: seconds since the epoch.
    """

    name: str
    path: str
    runtime: str = "auto"
    format: str = ""
    model_class: str | None = None
    python_path: tuple[str, ...] = ()
    args: dict[str, Any] = {}
    device: str = "auto"
    max_memory: int | None = None
    keep_alive: KeepAlive = None
    pinned: bool = False
    priority: Priority = "normal"
    weight: float = 1.0
    instances: str = "1"
    batch_size: int = 1
    batch_delay: float = 0.0
    concurrency: int = 1
    warmup: str | None = None
    trusted: bool = False
    cached: bool = False
    signature: Signature = Signature()
    image: ImageOptions = ImageOptions()
    fingerprint: str = ""
    weight_bytes: int = 0
    registered_at: float = 0.0


class JobError(msgspec.Struct, frozen=True):
    """Why a job failed: a typed error, taken apart."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = {}


class Job(msgspec.Struct, frozen=True):
    """A request that is kept until it has been answered, and its answer for a while after.

    Times are seconds since the epoch; a time that has not come is None.

    Attributes:
        state: pending (kept on disk), queued (its model's queue holds it), running (a worker has
            it), complete, failed or cancelled.
        source: what the input was called where it came from; "" where it had no name.
        content_type: of the input; ``accept`` is that of the answer.
        result_bytes: size of the answer; 0 as long as there is none.
        deadline_at: when it fails unless it is finished.
        compute_seconds: how long a worker was at it; None before it is complete.
        error: why it failed.
    """

    id: str
    model: str
    state: JobState
    priority: Priority
    metadata: dict[str, str]
    source: str
    content_type: str
    accept: str
    input_bytes: int
    result_bytes: int
    created_at: float
    queued_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    deadline_at: float | None = None
    compute_seconds: float | None = None
    error: JobError | None = None


def check_name(name: str) -> str:
    """Return the name if a model may be called so.

    Raises:
        InvalidModel: it has characters that do not fit in a file name or a command line.
    """
    if not _NAME.fullmatch(name):
        raise InvalidModel(
            f"{shown(name)} cannot be a model's name.",
            hint="Use up to 100 letters, digits, '.', '_' and '-', beginning with a letter or "
            "digit.",
        )
    return name


def parse_tensor(text: str) -> TensorSpec:
    """Read an input such as ``float32[-1,1,8,8]`` or ``tokens:int64[-1,128]``.

    Raises:
        InvalidModel: it is not written so, or of no known dtype.
    """
    match = _TENSOR.fullmatch(text.strip())
    axes = [axis.strip() for axis in match["shape"].split(",")] if match else []
    if match is None or not all(_AXIS.fullmatch(axis) for axis in axes if axes != [""]):
        raise InvalidModel(
            f"{shown(text)} does not describe an input.",
            hint="Write it like float32[-1,1,8,8] or tokens:int64[-1,128]; -1 is any length.",
        )
    if match["dtype"] not in _DTYPES:
        raise InvalidModel(
            f"{shown(match['dtype'])} is no dtype.",
            hint=f"Known are: {', '.join(sorted(_DTYPES))}.",
        )
    return TensorSpec(match["name"] or "", match["dtype"], tuple(int(a) for a in axes if a))


def format_tensors(tensors: Iterable[TensorSpec]) -> str:
    """Write inputs or outputs the way ``parse_tensor`` reads them, separated by ", "."""
    return ", ".join(
        f"{one.name}{':' if one.name else ''}{one.dtype}[{','.join(map(str, one.shape))}]"
        for one in tensors
    )


def check_priority(text: str) -> Priority:
    """Return the text if it is a priority.

    Raises:
        InvalidConfiguration: it is none.
    """
    if text in PRIORITIES:
        return text
    raise InvalidConfiguration(
        f"{shown(text)} is not a priority.",
        hint=f"{did_you_mean(text, PRIORITIES)}Priorities are: {', '.join(PRIORITIES)}.",
    )


def keep_alive_seconds(keep_alive: KeepAlive) -> float | None:
    """The seconds, ``math.inf`` for forever; None for the daemon's default."""
    return math.inf if keep_alive == "forever" else keep_alive


def instance_bounds(text: str) -> tuple[int, int | None]:
    """Read how many instances a model is to have: ``2``, ``1..4`` or ``auto``.

    Returns:
        The least and the greatest number; None for as many as memory and the queue suggest.

    Raises:
        InvalidConfiguration: it is not written so.
    """
    if text == "auto":
        return 1, None
    first, _, last = text.partition("..")
    bounds = (first, last) if ".." in text else (text, text)
    if not all(map(_COUNT.fullmatch, bounds)) or not 1 <= int(first) <= int(bounds[1]):
        raise InvalidConfiguration(
            f"{shown(text)} is no number of instances.",
            hint="Write it like 2, 1..4 or auto; 9999 is the most.",
        )
    return int(bounds[0]), int(bounds[1])

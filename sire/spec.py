"""Models and jobs as they are defined on disk, on the wire and in workers."""

import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

import msgspec

from sire.constants import read_constant
from sire.errors import InvalidConfiguration, InvalidModel, shown
from sire.nearest import did_you_mean

# A duration in a message: a number that is not negative.
Seconds = Annotated[float, msgspec.Meta(ge=0)]
KeepAlive = Seconds | Literal["forever"] | None
Priority = Literal["high", "normal", "low"]
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")
JobState = Literal["pending", "queued", "running", "complete", "failed", "cancelled"]

LONGEST_NAME = 100
# Of the sampling rate of audio.
MOST_HERTZ = 768_000
_PART = r"[A-Za-z0-9][A-Za-z0-9._:-]*"
_NAME = re.compile(rf"(?=.{{1,{LONGEST_NAME}}}\Z){_PART}(?:/{_PART})*")
_DTYPES = frozenset(
    {"string", "bool", "float16", "bfloat16", "float32", "float64", "complex64", "complex128"}
    | {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
)
_TENSOR = re.compile(
    r"(?:(?P<name>[^\s\[\]=]+):)?(?P<dtype>\w+)\[(?P<shape>[-\d,\s]*|\.\.\.)\](?:=(?P<constant>.+))?",
    re.DOTALL,
)


# An axis length has at most 63 bits.
_AXIS = re.compile(r"-1|\d{1,18}")
_COUNT = re.compile(r"\d{1,4}")
# The shape of an input that takes any number of axes; "..." in text.
ANY_SHAPE: tuple[int, ...] = (-2,)
# The beginnings of the dtypes of inputs that are lists of arrays, like ``sequence(float32)``, or
# dicts, like ``map(int64,float32)``.
SEQUENCE, MAP = "sequence(", "map("


class TensorSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """One array: its name ("" if it is the only one), dtype ("float32") and shape.

    In a signature ``-1`` stands for an axis of any length, and ``ANY_SHAPE`` for any axes; on the
    wire every length is given.

    Attributes:
        constant: JSON of the value that an input has if a request does not give it; "" for none.
        optional: whether a request may leave an input out, because the model has a default.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    constant: str = ""
    optional: bool = False

    @property
    def required(self) -> bool:
        """Whether each request has to give this input."""
        return not (self.constant or self.optional)


class Signature(msgspec.Struct, frozen=True, omit_defaults=True):
    """The inputs and outputs of a model; empty where they are not known."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def completed_by(self, reported: "Signature") -> "Signature":
        """This signature, with what the other has where it has nothing.

        Constants can be declared alone: the other inputs are those of the other signature.

        Raises:
            InvalidModel: the declared inputs are not those of the model.
        """
        outputs = self.outputs or reported.outputs
        if not self.inputs:
            return Signature(reported.inputs, outputs)
        if not reported.inputs and not any(spec.required for spec in self.inputs):
            raise InvalidModel(
                "Only constants are declared, and the model does not state its other inputs.",
                hint="Declare them as well: --input NAME:DTYPE[SHAPE]",
            )
        return Signature(_completed(self.inputs, reported.inputs), outputs)

    def required(self) -> tuple[TensorSpec, ...]:
        """The inputs that each request has to give; all of them, if none has to be given."""
        return tuple(spec for spec in self.inputs if spec.required) or self.inputs

    def in_order(self, count: int) -> tuple[TensorSpec, ...]:
        """The inputs that ``count`` values in order are for; empty if their number does not fit."""
        without_constants = tuple(spec for spec in self.inputs if not spec.constant)
        for inputs in (self.required(), without_constants, self.inputs):
            if len(inputs) == count:
                return inputs
        return ()

    @property
    def batchable(self) -> bool:
        """Whether the first axis of every input and output is a batch of any size."""
        return bool(self.inputs) and all(
            tensor.shape[:1] == (-1,) for tensor in (*self.inputs, *self.outputs)
        )


def _completed(
    declared: tuple[TensorSpec, ...], reported: tuple[TensorSpec, ...]
) -> tuple[TensorSpec, ...]:
    """The declared inputs, and those of the model that need not be declared."""
    if not reported or len(declared) == len(reported) == 1:
        return declared
    stated = {spec.name: spec for spec in declared}
    known = {spec.name: spec for spec in reported}
    if unknown := next((name for name in stated if name not in known), None):
        raise InvalidModel(
            f"The model has no input {shown(unknown)}.",
            hint=f"{did_you_mean(unknown, known)}It takes {format_tensors(reported)}.",
        )
    missing = [spec for spec in reported if spec.required and spec.name not in stated]
    if not any(spec.required for spec in declared):
        return tuple(stated.get(spec.name, spec) for spec in reported)
    if missing or "" in stated:
        raise InvalidModel(
            f"The declared inputs are {format_tensors(declared)}, but the model takes "
            f"{format_tensors(reported)}.",
            hint="Declare each by its name, or only a constant for those that requests do not "
            "give: --input 'gain:float32[]=3'",
        )
    return (*declared, *(spec for spec in reported if spec.name not in stated))


class ImageOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an image file becomes the input of a model.

    Attributes:
        mean: of each channel, subtracted from the pixels in their range; empty for 0.
        std: of each channel, which divides the difference; empty for 1.
        fit: how an image of another shape gets the height and width of the input: stretched, scaled
            and padded, or scaled and cropped, both on all sides alike.
        pad_value: of the pixels (0..255) that are added by padding.
        order: of the channels.
        range: what pixels of 0..255 are scaled to; empty for 0..1, or 0..255 for integers.
        multiple: a height or width that the model leaves free becomes a multiple of this.
    """

    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    fit: Literal["stretch", "pad", "crop"] = "stretch"
    pad_value: Annotated[int, msgspec.Meta(ge=0, le=255)] = 0
    order: Literal["rgb", "bgr"] = "rgb"
    range: tuple[float, ...] = ()
    multiple: Annotated[int, msgspec.Meta(ge=1, le=1 << 16)] = 1


class AudioOptions(msgspec.Struct, frozen=True, omit_defaults=True):
    """How an audio file becomes the input of a model.

    Attributes:
        rate: sampling rate in Hz to which files of other rates are resampled; None if the model
            takes any, and gets it.
    """

    rate: Annotated[int, msgspec.Meta(ge=1, le=MOST_HERTZ)] | None = None


class ModelSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """A registered model.

    Attributes:
        path: absolute path of the file or directory; "" for a model without one.
        runtime: name of the runtime that loads it; "auto" until the daemon detects it.
        format: the detected format of the file (``safetensors``, ``onnx``, …).
        model_class: ``module:Class``, ``/abs/file.py:Class`` or ``pickle:<path>``.
        python_path: directories added to the import path before ``model_class`` is imported.
        args: arguments of the model class, or of the runtime if there is no class.
        device: a device name, or "auto".
        group: the group whose limit on memory it shares; "" for none.
        max_memory: the most bytes that it needs, as declared; None for an estimate.
        keep_alive: seconds it stays loaded after its last use; None for the daemon's default.
        pinned: whether it is never unloaded to make room or because it is idle.
        priority: the priority of requests that specify none.
        weight: its share of a device that models compete for, relative to their weights.
        instances: number of processes that hold it: "2", "1..4" or "auto" (``instance_bounds``).
        batch_size: the most rows that run together in one pass.
        batch_delay: seconds a request waits for others to fill its batch.
        concurrency: requests that one process works on at the same time.
        warmup: absolute path of an input file that is run once after loading.
        trusted: whether its file may run code when it is loaded.
        cached: whether an input that was answered before is answered from memory.
        signature: its inputs and outputs, as declared.
        stated: its inputs and outputs, as its file states them.
        image: how images become inputs.
        audio: how audio becomes an input.
        fingerprint: digest of size and sampled content, equal for copies of the same file.
        weight_bytes: size of the weights as the file states it.
        weights_reported: ``weight_bytes`` is what its class says that it allocates in all.
        notes: sentences about how its file is read, as found when it was registered.
        alone: why its requests do not run in batches, as found while it ran; "" if they may.
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
    group: str = ""
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
    stated: Signature = Signature()
    image: ImageOptions = ImageOptions()
    audio: AudioOptions = AudioOptions()
    fingerprint: str = ""
    weight_bytes: int = 0
    weights_reported: bool = False
    notes: tuple[str, ...] = ()
    alone: str = ""
    registered_at: float = 0.0


def named_code(spec: ModelSpec) -> tuple[str, ...]:
    """The code that a definition names, which runs when the model is loaded, in words."""
    named = {
        "the class": spec.model_class,
        "the command": spec.args.get("cmd"),
        "the Python file": spec.path if spec.path.endswith(".py") else None,
    }
    return tuple(f"{what} {shown(text)}" for what, text in named.items() if text)


class JobError(msgspec.Struct, frozen=True):
    """The error of a failed job: the fields of a ``SireError``."""

    code: str
    message: str
    hint: str = ""
    details: dict[str, Any] = {}


class Job(msgspec.Struct, frozen=True):
    """A durable request, and for a while after its end its result.

    Times are seconds since the epoch; the time of an event that has not happened is None.

    Attributes:
        state: pending (on disk), queued (in its model's queue), running (in a worker), complete,
            failed or cancelled.
        metadata: text that the submitter attached.
        source: the name of the input, such as its file's; "" if it has none.
        content_type: content type of the input; ``accept`` is that of the result.
        result_bytes: size of the result; 0 before it is complete.
        deadline_at: when it fails if it has not ended.
        compute_seconds: time a worker took; None before it is complete.
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
    """Return the name if it is a valid model name.

    Raises:
        InvalidModel: it is too long, or has characters that are not safe on a command line.
    """
    if not _NAME.fullmatch(name):
        raise InvalidModel(
            f"{shown(name)} is not a valid model name.",
            hint=f"Use up to {LONGEST_NAME} letters, digits, '.', '_', '-', ':' and '/', with a "
            "letter or digit at the start and after each '/'.",
        )
    return name


def parse_tensor(text: str) -> TensorSpec:
    """Read an input such as ``float32[-1,1,8,8]``, ``tokens:int64[...]`` or ``gain:float32[]=3``.

    Raises:
        InvalidModel: the text has another form, the dtype is unknown, or the constant does not fit.
    """
    match = _TENSOR.fullmatch(text.strip())
    shape = match["shape"] if match else ""
    axes = [axis.strip() for axis in shape.split(",")] if shape != "..." else []
    if match is None or not all(_AXIS.fullmatch(axis) for axis in axes if axes != [""]):
        raise InvalidModel(
            f"{shown(text)} is not a valid tensor.",
            hint="Write it like float32[-1,1,8,8], tokens:int64[-1,128] or gain:float32[]=3; -1 is "
            "any length, and [...] any shape.",
        )
    if match["dtype"] not in _DTYPES:
        raise InvalidModel(
            f"{shown(match['dtype'])} is not a known dtype.",
            hint=f"Dtypes are: {', '.join(sorted(_DTYPES))}.",
        )
    lengths = ANY_SHAPE if shape == "..." else tuple(int(a) for a in axes if a)
    spec = TensorSpec(match["name"] or "", match["dtype"], lengths)
    if match["constant"] is None:
        return spec
    if not spec.name:
        raise InvalidModel(
            f"{shown(text)} gives a value to an input without a name.",
            hint="Write the name as well, like gain:float32[]=3.",
        )
    value = read_constant(match["constant"], spec.dtype, spec.shape)
    return msgspec.structs.replace(spec, constant=value)


def format_tensors(tensors: Iterable[TensorSpec]) -> str:
    """Format tensors as ``parse_tensor`` reads them, separated by ", "."""
    return ", ".join(map(_format_tensor, tensors))


def _format_tensor(spec: TensorSpec) -> str:
    shape = "..." if spec.shape == ANY_SHAPE else ",".join(map(str, spec.shape))
    value = f"={spec.constant}" if spec.constant else " (optional)" if spec.optional else ""
    return f"{spec.name}{':' if spec.name else ''}{spec.dtype}[{shape}]{value}"


def check_priority(text: str) -> Priority:
    """Return the text if it is a priority.

    Raises:
        InvalidConfiguration: it is not high, normal or low.
    """
    if text in PRIORITIES:
        return text
    raise InvalidConfiguration(
        f"{shown(text)} is not a priority.",
        hint=f"{did_you_mean(text, PRIORITIES)}Priorities are: {', '.join(PRIORITIES)}.",
    )


def keep_alive_seconds(keep_alive: KeepAlive) -> float | None:
    """Seconds, or ``math.inf`` for forever; None for the daemon's default."""
    return math.inf if keep_alive == "forever" else keep_alive


def instance_bounds(text: str) -> tuple[int, int | None]:
    """Read a number of instances: ``2``, ``1..4`` or ``auto``.

    Returns:
        The least and the greatest number; None for as many as the queue needs and memory allows.

    Raises:
        InvalidConfiguration: the text has another form, or exceeds 9999.
    """
    if text == "auto":
        return 1, None
    first, _, last = text.partition("..")
    bounds = (first, last) if ".." in text else (text, text)
    if not all(map(_COUNT.fullmatch, bounds)) or not 1 <= int(first) <= int(bounds[1]):
        raise InvalidConfiguration(
            f"{shown(text)} is not a number of instances.",
            hint="Write it like 2, 1..4 or auto; the most is 9999.",
        )
    return int(bounds[0]), int(bounds[1])

"""PyTorch models: weights with a class, torch.export programs, AOTInductor, TorchScript."""

import dataclasses
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.overrides import TorchFunctionMode

from sired.errors import InvalidModel, UntrustedModel
from sired.runtimes.base import InferenceRuntime, is_out_of_memory
from sired.runtimes.classes import construct, find_class
from sired.spec import Signature, TensorSpec

# Training scripts wrap the weights in one of these.
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_NAMED = 3

# Inputs are views of the request's bytes, marked read-only. A model that writes to its input all
# the same writes to a copy that nobody else has.
warnings.filterwarnings("ignore", message="The given NumPy array is not writable")


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory: what to call, and what is known of it.

    A dict of inputs is passed by keyword where all of its names are in ``by_keyword``, and in
    order where they are those of ``in_order``.
    """

    call: Callable[..., Any]
    device: torch.device
    weight_bytes: int
    signature: Signature = dataclasses.field(default_factory=Signature)
    by_keyword: frozenset[str] = frozenset()
    in_order: tuple[str, ...] = ()


class PyTorchRuntime(InferenceRuntime):
    """Runs every kind of file that PyTorch writes."""

    name: ClassVar[str] = "pytorch"

    def load(self, model_path: str, **kwargs: Any) -> Loaded:
        """Load a model; see ``InferenceRuntime.load``.

        Nothing is unpickled beyond tensors and plain containers, and no program is loaded, unless
        ``trusted``.
        """
        arguments = dict(kwargs)
        job = _Job(
            path=model_path,
            device=torch.device(arguments.pop("device", "cpu")),
            model_class=arguments.pop("model_class", None),
            python_path=tuple(arguments.pop("python_path", ())),
            trusted=bool(arguments.pop("trusted", False)),
            arguments=arguments,
        )
        loader = _LOADERS.get(arguments.pop("format", "") or "state_dict", _load_state_dict)
        return loader(job)

    def predict(self, model: Loaded, data: Any) -> Any:
        """Run the model once; see ``InferenceRuntime.predict``.

        A dict is passed by keyword where ``forward`` has parameters of these names; a tuple in
        order; anything else as the one argument.
        """
        with torch.inference_mode():
            given = _to_tensors(data, model.device)
            if isinstance(given, dict) and given.keys() == set(model.in_order):
                given = tuple(given[name] for name in model.in_order)
            if isinstance(given, dict) and given.keys() <= model.by_keyword:
                answer = model.call(**given)
            elif isinstance(given, tuple):
                answer = model.call(*given)
            else:
                answer = model.call(given)
            return _to_arrays(answer)

    def get_memory_footprint(self, model: Loaded) -> int:
        """Bytes of all parameters and buffers."""
        return model.weight_bytes

    def signature(self, model: Loaded) -> Signature:
        """What an exported program says of its inputs; of others nothing is known."""
        return model.signature

    def peak_device_memory(self) -> int:
        """Most bytes PyTorch's allocator has held on the GPU."""
        return torch.cuda.max_memory_reserved() if torch.cuda.is_initialized() else 0  # type: ignore[no-untyped-call]


@dataclasses.dataclass(frozen=True, slots=True)
class _Job:
    path: str
    device: torch.device
    model_class: str | None
    python_path: tuple[str, ...]
    trusted: bool
    arguments: dict[str, Any]


# Weights with a class


def _load_safetensors(job: _Job) -> Loaded:
    try:
        weights = load_file(job.path, device=str(job.device))
    except SafetensorError as problem:
        raise InvalidModel(f"{job.path} cannot be read as safetensors: {problem}") from None
    return _with_class(job, weights)


def _load_state_dict(job: _Job) -> Loaded:
    content = _unpickled(job)
    if isinstance(content, torch.nn.Module):
        return _module(content, job.device)
    weights = _weights_in(content, job.path)
    return _with_class(job, weights)


def _unpickled(job: _Job) -> Any:
    """What torch.save wrote; without trust only tensors and plain containers are built."""
    # A file in the old format cannot be mapped.
    mapped = zipfile.is_zipfile(job.path)
    try:
        return torch.load(job.path, "cpu", weights_only=not job.trusted, mmap=mapped)
    except pickle.UnpicklingError as problem:
        if "weights_only" in str(problem).lower() or "unsupported" in str(problem).lower():
            raise _untrusted(job, str(problem)) from None
        raise InvalidModel(f"{job.path} cannot be read: {_first_line(problem)}") from None
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as problem:
        if is_out_of_memory(problem):
            raise
        raise InvalidModel(f"{job.path} cannot be read: {_first_line(problem)}") from None


def _untrusted(job: _Job, said: str) -> UntrustedModel:
    wanted = re.search(r"GLOBAL (\S+)", said)
    what = f"wants to run {wanted[1]}" if wanted else "holds more than weights"
    return UntrustedModel(
        f"{job.path} {what} when it is loaded; nothing of it has run.",
        hint="If you trust where it comes from: sire register --replace --trust. Better: save the "
        "state_dict as safetensors.",
    )


def _weights_in(content: Any, path: str) -> dict[str, torch.Tensor]:
    for wrapper in _WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    if not isinstance(content, dict) or not all(
        isinstance(value, torch.Tensor) for value in content.values()
    ):
        raise InvalidModel(
            f"{path} holds a {type(content).__name__} that is no state_dict.",
            hint="Save model.state_dict().",
        )
    return content


def _with_class(job: _Job, weights: dict[str, torch.Tensor]) -> Loaded:
    if job.model_class is None:
        raise InvalidModel(
            f"{job.path} holds weights only; the class they belong to is missing.",
            hint="Name it: sire register --replace --class file.py:Class",
        )
    kind = find_class(job.model_class, job.python_path)
    with _NoInitialisation():
        module = construct(kind, job.arguments)
    if not isinstance(module, torch.nn.Module):
        raise InvalidModel(f"{kind.__name__} is no torch.nn.Module.")
    _fill(module, weights, job.path)
    return _module(module, job.device)


class _NoInitialisation(TorchFunctionMode):
    """Leaves new parameters as they are: the file is about to replace every one of them.

    Random numbers for a large model take seconds, and memory for its weights a second time.
    Buffers and other tensors are filled as ever: they may not be in the file.
    """

    _FILL = frozenset({"uniform_", "normal_", "fill_", "zero_", "copy_", "erfinv_", "clamp_"})

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Stand in for one torch function."""
        name = getattr(func, "__name__", "")
        if name in self._FILL and args and isinstance(args[0], torch.nn.Parameter):
            return args[0]
        return func(*args, **(kwargs or {}))


def _fill(module: torch.nn.Module, weights: dict[str, torch.Tensor], path: str) -> None:
    try:
        # Assigning keeps the mapped tensors; copying would hold every weight twice.
        missing, unexpected = module.load_state_dict(weights, strict=False, assign=True)
    except RuntimeError as problem:
        raise InvalidModel(
            f"{path} does not fit {type(module).__name__}: {_last_line(problem)}"
        ) from None
    if missing or unexpected:
        parts = [
            f"{kind} {', '.join(keys[:_NAMED])}{' …' if len(keys) > _NAMED else ''}"
            for kind, keys in (("lacks", missing), ("has besides", unexpected))
            if keys
        ]
        raise InvalidModel(
            f"{path} does not fit {type(module).__name__}: the file {' and '.join(parts)}.",
            hint="Are --class and --arg the ones it was trained with?",
        )


def _module(module: torch.nn.Module, device: torch.device) -> Loaded:
    module = module.eval().to(device)
    tensors = [*module.parameters(), *module.buffers()]
    return Loaded(module, device, _bytes(tensors), by_keyword=_keywords(module))


def _keywords(module: torch.nn.Module) -> frozenset[str]:
    code = getattr(module.forward, "__code__", None)
    if code is None:
        return frozenset()
    return frozenset(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount])


def _bytes(tensors: list[torch.Tensor]) -> int:
    # Tied weights are in memory once.
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(storages.values())


# Programs


def _load_exported(job: _Job) -> Loaded:
    _require_trust(job, "is a torch.export program: its shapes and sample inputs hold Python code")
    # An open file, because a path would have to end in ".pt2".
    with Path(job.path).open("rb") as file:
        program = torch.export.load(file)
    _refuse_arguments(job)
    module = program.module().to(job.device)
    weights = [*program.state_dict.values(), *program.constants.values()]
    tensors = [value for value in weights if isinstance(value, torch.Tensor)]
    return Loaded(
        module,
        job.device,
        _bytes(tensors),
        _exported_signature(program),
        in_order=tuple(map(str, program.graph_signature.user_inputs)),
    )


def _exported_signature(program: torch.export.ExportedProgram) -> Signature:
    by_name = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    return Signature(
        inputs=tuple(
            _describe("" if len(program.graph_signature.user_inputs) == 1 else str(name), value)
            for name in program.graph_signature.user_inputs
            if isinstance(name, str)
            and isinstance(value := by_name[name].meta.get("val"), torch.Tensor)
        )
    )


def _describe(name: str, value: torch.Tensor) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in value.shape)
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), shape)


def _load_aoti(job: _Job) -> Loaded:
    _require_trust(job, "is an AOTInductor package: it carries native code")
    _refuse_arguments(job)
    package = torch._inductor.aoti_load_package(job.path)  # noqa: SLF001 (their documented name)
    with zipfile.ZipFile(job.path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    return Loaded(package, job.device, size)


def _load_torchscript(job: _Job) -> Loaded:
    _require_trust(job, "is a TorchScript archive: it carries code")
    _refuse_arguments(job)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated upstream, and still common
        try:
            module = torch.jit.load(job.path, job.device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as problem:
            if is_out_of_memory(problem):
                raise
            raise InvalidModel(f"{job.path} cannot be read: {_first_line(problem)}") from None
    tensors = [*module.parameters(), *module.buffers()]
    return Loaded(module, job.device, _bytes(tensors))


def _require_trust(job: _Job, what: str) -> None:
    if not job.trusted:
        raise UntrustedModel(
            f"{job.path} {what} that loading runs; nothing of it has run.",
            hint="If you trust where it comes from: sire register --replace --trust",
        )


def _refuse_arguments(job: _Job) -> None:
    if job.arguments:
        raise InvalidModel(
            f"{job.path} needs no class, so there is nothing to give "
            f"{', '.join(job.arguments)} to.",
            hint="Register it without --arg.",
        )


_LOADERS: Mapping[str, Callable[[_Job], Loaded]] = {
    "safetensors": _load_safetensors,
    "state_dict": _load_state_dict,
    "pickle": _load_state_dict,
    "exported": _load_exported,
    "aoti": _load_aoti,
    "torchscript": _load_torchscript,
}


# Data


def _to_tensors(value: Any, device: torch.device) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return torch.from_numpy(np.asarray(value)).to(device)
    if isinstance(value, dict):
        return {key: _to_tensors(item, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_tensors(item, device) for item in value)
    return value


def _to_arrays(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        # numpy knows no bfloat16; float32 holds every value of it.
        return (value.float() if value.dtype == torch.bfloat16 else value).contiguous().numpy()
    if isinstance(value, Mapping):
        return {key: _to_arrays(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _to_arrays(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {key: _to_arrays(item) for key, item in value._asdict().items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_arrays(item) for item in value)
    return value


def _first_line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0]


def _last_line(problem: BaseException) -> str:
    return str(problem).strip().rpartition("\n")[2].strip()

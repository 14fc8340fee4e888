"""Loads programs (torch.export, AOTInductor, TorchScript), which runs code from the file."""

import contextlib
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch.export.passes import move_to_device_pass
from torch.utils._pytree import tree_unflatten

from sire.errors import InvalidModel, LoadFailed, UntrustedModel
from sire.spec import Signature, TensorSpec
from sired.runtimes.arguments import read_arguments
from sired.runtimes.out_of_memory import is_out_of_memory
from sired.runtimes.pytorch.arguments import TorchOptions
from sired.runtimes.pytorch.compiling import compiled
from sired.runtimes.pytorch.model import (
    TorchLoad,
    TorchModel,
    common_precision,
    storage_bytes,
    wanted_precision,
)
from sired.runtimes.pytorch.packages import Package
from sired.runtimes.pytorch.traits import TRAITS
from sired.runtimes.support.inputs import FlatInputs, parameters_of_script
from sired.runtimes.support.library_errors import reason_of


def load_exported(job: TorchLoad) -> TorchModel:
    """Load what ``torch.export.save`` wrote.

    Raises:
        UntrustedModel: the job is not trusted.
        InvalidModel: an argument does not apply to such a program.
    """
    _require_trust(
        job, "is a torch.export program: its shapes and sample inputs contain Python code"
    )
    options = _options(job, "exported", "a torch.export program")
    # An open file, because a path would have to end in ".pt2".
    with Path(job.path).open("rb") as file, _errors_translated(job.path):
        program = torch.export.load(file)
    weights = [*program.state_dict.values(), *program.constants.values()]
    tensors = [value for value in weights if isinstance(value, torch.Tensor)]
    structure = program.call_spec.in_spec
    inputs = FlatInputs(
        [str(name) for name in program.graph_signature.user_inputs],
        lambda flat: tree_unflatten(flat, structure),
    )
    module = _moved(program, job.device).module().to(job.device)
    return TorchModel(
        compiled(module) if options.compile else module,
        job.device,
        inputs.arrange,
        storage_bytes(tensors),
        common_precision(tensors),
        _signature(program),
        options,
    )


def _moved(
    program: torch.export.ExportedProgram, device: torch.device
) -> torch.export.ExportedProgram:
    """The program with its own tensors made on a device, which the graph names: ``arange``, masks.

    ``Module.to`` moves weights only. On the CPU, where programs are usually exported, nothing is
    to be changed.
    """
    if device.type == "cpu":
        return program
    return move_to_device_pass(program, str(device))


def _signature(program: torch.export.ExportedProgram) -> Signature:
    """The program's inputs and outputs; empty for a side with values that are not tensors."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [str(name) for name in program.graph_signature.user_inputs]
    outputs = [str(name) for name in program.graph_signature.user_outputs]
    output = tree_unflatten(outputs, program.call_spec.out_spec)
    keys = list(output) if isinstance(output, dict) else [""] * len(outputs)
    return Signature(
        inputs=_side(inputs if len(inputs) > 1 else [""], [values.get(name) for name in inputs]),
        outputs=_side(keys, [values.get(name) for name in outputs]),
    )


def _side(names: Sequence[str], values: Sequence[object]) -> tuple[TensorSpec, ...]:
    tensors = [value for value in values if isinstance(value, torch.Tensor)]
    if not len(tensors) == len(values) == len(names):
        return ()
    return tuple(map(_describe, names, tensors))


def _describe(name: str, value: torch.Tensor) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in value.shape)
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), shape)


def load_aoti(job: TorchLoad) -> TorchModel:
    """Load an AOTInductor package; raises as ``load_exported`` does.

    Raises:
        LoadFailed: it was compiled for another kind of device.
    """
    _require_trust(job, "is an AOTInductor package: it contains native code")
    options = _options(job, "aoti", "an AOTInductor package")
    package = Package(job.path, checks=not job.declared.inputs)
    if package.device_kind not in {"", job.device.type}:
        raise LoadFailed(
            f"{job.path} was compiled for {package.device_kind}, but was placed on "
            f"{job.device.type}.",
            hint="Register it with --device and the name of a device of that kind.",
        )
    with zipfile.ZipFile(job.path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    return TorchModel(package, job.device, package.arrange, size, options=options)


def load_torchscript(job: TorchLoad) -> TorchModel:
    """Load a TorchScript archive; raises as ``load_exported`` does."""
    _require_trust(job, "is a TorchScript archive: it contains code")
    options = _options(job, "torchscript", "a TorchScript archive")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated upstream, but still common
        with _errors_translated(job.path):
            module = torch.jit.load(job.path, job.device).eval()  # type: ignore[no-untyped-call]
    if (precision := wanted_precision(options)) is not None:
        module = module.to(precision)
    if options.channels_last:
        module = module.to(memory_format=torch.channels_last)
    tensors = [*module.parameters(), *module.buffers()]
    parameters = parameters_of_script(module)
    return TorchModel(
        module,
        job.device,
        parameters.arrange,
        storage_bytes(tensors),
        common_precision(tensors),
        options=options,
        with_rate=parameters.with_rate,
    )


@contextlib.contextmanager
def _errors_translated(path: str) -> Iterator[None]:
    """Convert an exception of PyTorch's readers to InvalidModel."""
    try:
        yield
    except Exception as problem:
        if is_out_of_memory(problem):
            raise
        raise InvalidModel(f"{path} cannot be read: {reason_of(problem)}") from None


def _options(job: TorchLoad, format_name: str, kind: str) -> TorchOptions:
    """The options of a program; only those that apply to its format are accepted."""
    file_format = TRAITS.format(format_name)
    assert file_format is not None
    owner = f"{job.path}, {kind},"
    return read_arguments(TorchOptions, job.arguments, owner, file_format.arguments)


def _require_trust(job: TorchLoad, what: str) -> None:
    if not job.trusted:
        raise UntrustedModel(
            f"{job.path} {what} that loading runs; none of its code has run.",
            hint="If you trust its source: sire register --replace --trust",
        )

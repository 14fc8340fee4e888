"""Programs: torch.export, AOTInductor, TorchScript. Loading one runs what is in the file."""

import warnings
import zipfile
from pathlib import Path

import torch
from torch.utils._pytree import tree_unflatten

from sired.errors import InvalidModel, UntrustedModel
from sired.runtimes.arguments import FlatInputs, Parameters, parameters_of_script
from sired.runtimes.base import is_out_of_memory
from sired.runtimes.pytorch.model import Job, Loaded, common_precision, storage_bytes
from sired.spec import Signature, TensorSpec

_ANYTHING = Parameters((), any_name=True, required=frozenset(), fewest=0, most=float("inf"))


def load_exported(job: Job) -> Loaded:
    """Load what ``torch.export.save`` wrote.

    Raises:
        UntrustedModel: the job is not trusted.
        InvalidModel: arguments are given, of which a program has none.
    """
    _require_trust(job, "is a torch.export program: its shapes and sample inputs hold Python code")
    job.refuse_arguments()
    # An open file, because a path would have to end in ".pt2".
    with Path(job.path).open("rb") as file:
        program = torch.export.load(file)
    weights = [*program.state_dict.values(), *program.constants.values()]
    tensors = [value for value in weights if isinstance(value, torch.Tensor)]
    structure = program.call_spec.in_spec
    inputs = FlatInputs(
        [str(name) for name in program.graph_signature.user_inputs],
        lambda flat: tree_unflatten(flat, structure),
    )
    return Loaded(
        program.module().to(job.device),
        job.device,
        inputs.arrange,
        storage_bytes(tensors),
        common_precision(tensors),
        _signature(program),
    )


def _signature(program: torch.export.ExportedProgram) -> Signature:
    """What the program says of its inputs; nothing when some are no tensors."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    names = [str(name) for name in program.graph_signature.user_inputs]
    tensors = [value for name in names if isinstance(value := values.get(name), torch.Tensor)]
    if len(tensors) < len(names):
        return Signature()
    shown = names if len(names) > 1 else [""]
    return Signature(inputs=tuple(map(_describe, shown, tensors)))


def _describe(name: str, value: torch.Tensor) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in value.shape)
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), shape)


def load_aoti(job: Job) -> Loaded:
    """Load an AOTInductor package; raises as ``load_exported`` does."""
    _require_trust(job, "is an AOTInductor package: it carries native code")
    job.refuse_arguments()
    package = torch._inductor.aoti_load_package(job.path)  # noqa: SLF001 (their documented name)
    with zipfile.ZipFile(job.path) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
    return Loaded(package, job.device, _ANYTHING.arrange, size)


def load_torchscript(job: Job) -> Loaded:
    """Load a TorchScript archive; raises as ``load_exported`` does."""
    _require_trust(job, "is a TorchScript archive: it carries code")
    job.refuse_arguments()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated upstream, and still common
        try:
            module = torch.jit.load(job.path, job.device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as problem:
            if is_out_of_memory(problem):
                raise
            said = str(problem).strip().partition("\n")[0]
            raise InvalidModel(f"{job.path} cannot be read: {said}") from None
    tensors = [*module.parameters(), *module.buffers()]
    inputs = parameters_of_script(module)
    return Loaded(
        module, job.device, inputs.arrange, storage_bytes(tensors), common_precision(tensors)
    )


def _require_trust(job: Job, what: str) -> None:
    if not job.trusted:
        raise UntrustedModel(
            f"{job.path} {what} that loading runs; nothing of it has run.",
            hint="If you trust where it comes from: sire register --replace --trust",
        )

"""Files that bring their own code: torch.export, TorchScript, AOTInductor.

PyTorch confines none of them, so each needs trust. ``torch.export.load`` evaluates the program's
shape expressions as Python (by ``sympy.sympify``) and falls back to full unpickling; TorchScript
can write any file, from ``__setstate__`` even while it is loaded; AOTInductor is native code.
"""

import inspect
import warnings
import zipfile
from pathlib import Path

import torch

from sired.errors import InvalidModel
from sired.runtimes.base import is_out_of_memory
from sired.runtimes.torch_model import Job, Loaded, first_line, loaded
from sired.spec import Signature, TensorSpec

_IN_ORDER = inspect.Parameter.POSITIONAL_OR_KEYWORD
_BY_NAME = inspect.Parameter.KEYWORD_ONLY


def load_exported(job: Job) -> Loaded:
    """Load a torch.export program."""
    job.need_trust("is a torch.export program: loading it can run code from the file")
    job.refuse_arguments()
    try:
        # An open file, because a path would have to end in ".pt2".
        with Path(job.path).open("rb") as file:
            program = torch.export.load(file)
    except (RuntimeError, zipfile.BadZipFile, KeyError, ValueError, AssertionError) as problem:
        if is_out_of_memory(problem):
            raise
        raise InvalidModel(f"{job.path} cannot be read: {first_line(problem)}") from None
    module = program.module().to(job.device)
    return loaded(module, job.device, _parameters(program), _signature(program))


def _parameters(program: torch.export.ExportedProgram) -> inspect.Signature:
    """How the program was exported to be called: these in order, those by name."""
    positional, named = program.call_spec.in_spec.children()
    entry = program.module_call_graph[0].signature
    names = entry.forward_arg_names if entry is not None else None
    in_order = (names or [f"input{n}" for n in range(positional.num_children)])[
        : positional.num_children
    ]
    return inspect.Signature(
        [inspect.Parameter(name, _IN_ORDER) for name in in_order]
        + [inspect.Parameter(name, _BY_NAME) for name in named.context]
    )


def _signature(program: torch.export.ExportedProgram) -> Signature:
    taken = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    names = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    return Signature(
        inputs=tuple(
            _describe("" if len(names) == 1 else name, value)
            for name in names
            if isinstance(value := taken[name].meta.get("val"), torch.Tensor)
        )
    )


def _describe(name: str, value: torch.Tensor) -> TensorSpec:
    shape = tuple(axis if isinstance(axis, int) else -1 for axis in value.shape)
    return TensorSpec(name, str(value.dtype).removeprefix("torch."), shape)


def load_torchscript(job: Job) -> Loaded:
    """Load a TorchScript archive."""
    job.need_trust("is a TorchScript program: loading it can run code from the file")
    job.refuse_arguments()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated upstream, and still common
        try:
            module = torch.jit.load(job.path, job.device).eval()  # type: ignore[no-untyped-call]
        except RuntimeError as problem:
            if is_out_of_memory(problem):
                raise
            raise InvalidModel(f"{job.path} cannot be read: {first_line(problem)}") from None
    _, *taken = module.forward.schema.arguments
    parameters = [
        inspect.Parameter(
            argument.name,
            _BY_NAME if argument.kwarg_only else _IN_ORDER,
            default=argument.default_value
            if argument.has_default_value()
            else inspect.Parameter.empty,
        )
        for argument in taken
    ]
    return loaded(module, job.device, inspect.Signature(parameters))


def load_aoti(job: Job) -> Loaded:
    """Load an AOTInductor package."""
    job.need_trust("is an AOTInductor package: it carries native code that loading runs")
    job.refuse_arguments()
    try:
        with zipfile.ZipFile(job.path) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        package = torch._inductor.aoti_load_package(job.path)  # noqa: SLF001 (their documented name)
    except (RuntimeError, zipfile.BadZipFile) as problem:
        if is_out_of_memory(problem):
            raise
        raise InvalidModel(f"{job.path} cannot be read: {first_line(problem)}") from None
    return Loaded(package, job.device, size)

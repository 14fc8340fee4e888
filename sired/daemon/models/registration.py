"""From what a client says of a model to what the registry keeps: looking at files, checking."""

import hashlib
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import msgspec

from sire.errors import InvalidModel, ModelNotFound, SireError, UntrustedModel, shown
from sire.nearest import nearest
from sire.options.derived import check_values
from sire.paths import Paths, nearest_file_hint, private_directory
from sire.protocol.content import Buffer
from sire.protocol.requests import Register
from sire.spec import ModelSpec, check_name
from sired.http.ollama import Ollama, read_options
from sired.program import read_program
from sired.runtimes.onnx.options import read_onnx_options
from sired.store.atomic import write_atomically
from sired.store.fingerprint import fingerprint
from sired.store.formats import ModelFormat, recognise
from sired.store.huggingface import directory_fingerprint, loaded_bytes
from sired.store.safetensors_file import bytes_in, read_tensors

PICKLED = "pickle:"
# The runtimes whose models are files that have to be there, and
_OF_FILES = {"pytorch", "onnx", "huggingface", "python"}
# those whose models are recognised here.
_RECOGNISED = {"pytorch", "onnx", "huggingface"}
# Arguments that decide what a model needs as its file does.
_DECISIVE = {"dtype", "compile", "provider_options"}


def complete(request: Register, payload: tuple[Buffer, ...], paths: Paths) -> ModelSpec:
    """Fill in what the file itself says of a model. Reads the disk: call it in a thread.

    Raises:
        ModelNotFound: there is no such file.
        InvalidModel: something said of the model cannot be true.
        UntrustedModel: the file is a program, and the model is not trusted.
        InvalidConfiguration: its number of instances is none.
    """
    given = request.model
    check_name(given.name)
    check_values(given)
    spec = inspect(given)
    if spec.runtime == "command":
        read_program(spec.args, spec.path)
    if spec.runtime == "onnx":
        read_onnx_options(spec.args)
    check_batches(spec)
    _check_compiled(spec)
    return msgspec.structs.replace(
        spec,
        model_class=_model_class(request, payload, paths),
        registered_at=time.time(),
    )


def inspect(given: ModelSpec) -> ModelSpec:
    """Tell a model's kind, size and fingerprint. Reads headers: call it in a thread.

    Raises:
        ModelNotFound: and InvalidModel, UntrustedModel: as ``complete``.
    """
    if given.runtime == "ollama":
        return _in_ollama(given)
    try:
        path = _path(given)
        spec = _recognised(given, path)
        return msgspec.structs.replace(spec, fingerprint=_fingerprint(spec, path))
    except OSError as problem:  # a name too long, a disk that fails
        raise InvalidModel(f"{shown(given.path)} cannot be read: {problem.strerror}.") from None


def _in_ollama(given: ModelSpec) -> ModelSpec:
    """What an Ollama server says of a model of its library."""
    if given.path:
        raise InvalidModel(
            "A model in Ollama has no file of its own here.",
            hint="Name it as Ollama does: --runtime ollama --arg model=llama3.2",
        )
    options = read_options(given.args)
    found = Ollama(options.host).find(options.model)
    said = repr((found.digest, sorted(options.options.items())))
    return msgspec.structs.replace(
        given,
        format="gguf",
        weight_bytes=found.size,
        fingerprint=hashlib.sha256(said.encode(errors="replace")).hexdigest()[:32],
    )


def _path(given: ModelSpec) -> Path | None:
    """The model's file or directory; None where its runtime alone knows if it needs one."""
    if not given.path and given.runtime not in {"auto", *_OF_FILES}:
        return None
    if not given.path:
        raise InvalidModel(
            f"No file is named for {given.name}.",
            hint="Name it after the model's name, or a program that serves it: --cmd",
        )
    path = Path(given.path)
    if not path.is_absolute():
        raise InvalidModel(f"{shown(given.path)} is no absolute path.", hint="Give the whole path.")
    if not path.exists():
        raise ModelNotFound(
            f"There is no file {shown(given.path)}.", hint=nearest_file_hint(path), path=str(path)
        )
    return path


def _fingerprint(spec: ModelSpec, path: Path | None) -> str:
    """What tells models of different needs apart; "" for a directory, which its path does."""
    if path is not None and spec.runtime == "huggingface":
        return directory_fingerprint(path, spec.args)
    content = fingerprint(path) if path is not None and path.is_file() else ""
    if spec.runtime in _OF_FILES and not (_DECISIVE & spec.args.keys()):
        return content
    # What such a model needs may depend on its arguments more than on its file.
    said = repr((content or spec.path, sorted(spec.args.items())))
    return hashlib.sha256(said.encode(errors="replace")).hexdigest()[:32]


def _recognised(given: ModelSpec, path: Path | None) -> ModelSpec:
    known = sorted(entry_points(group="sire.runtimes").names)
    if given.runtime not in {"auto", *known}:
        near = nearest(given.runtime, known)
        meant = f"Did you mean {near}? " if near else ""
        raise InvalidModel(
            f"There is no runtime {shown(given.runtime)}.",
            hint=f"{meant}There are: {', '.join(known)}.",
        )
    if given.runtime == "auto" and path is not None and path.suffix == ".py":
        given = msgspec.structs.replace(given, runtime="python")
    if path is None or given.runtime not in {"auto", *_RECOGNISED}:
        # Only that runtime knows what its models look like.
        _check_python(given)
        return msgspec.structs.replace(given, weight_bytes=_size(path) if path else 0)
    found = recognise(path)
    if given.runtime not in {"auto", found.runtime}:
        raise InvalidModel(
            f"{path} is a {found.name} file, which {found.runtime} loads, not {given.runtime}.",
            hint="Leave --runtime out: it is recognised.",
        )
    if found.runtime == "huggingface":
        return _huggingface(given, found, path)
    _check_fits(given, found)
    size = found.weight_bytes
    if found.name == "safetensors":
        size = bytes_in(read_tensors(path), str(given.args.get("dtype")))
    return msgspec.structs.replace(
        given, runtime=found.runtime, format=found.name, weight_bytes=size
    )


def _huggingface(given: ModelSpec, found: ModelFormat, path: Path) -> ModelSpec:
    """What its arguments say of where it runs and of what it takes there."""
    device = given.device
    if given.args.get("force_cpu") is True and device == "auto":
        device = "cpu"
    return msgspec.structs.replace(
        given,
        runtime=found.runtime,
        format=found.name,
        device=device,
        weight_bytes=loaded_bytes(path, given.args),
    )


def _check_python(given: ModelSpec) -> None:
    if given.runtime == "python" and given.model_class is None and not given.path.endswith(".py"):
        raise InvalidModel(
            f"What is to load {given.path} and to predict with it is missing.",
            hint="Name it: --class module:Class or --class file.py:Class, with --arg k=v for its "
            "constructor.",
        )


def _check_fits(given: ModelSpec, found: ModelFormat) -> None:
    if found.name == "pickle" and given.model_class is None and not given.trusted:
        raise UntrustedModel(
            f"{given.path} holds more than weights: what is pickled in it runs when it is loaded.",
            hint="If you trust where it comes from: --trust. Better: save the state_dict as "
            "safetensors, and register it with --class.",
        )
    if found.needs_class and given.model_class is None and not given.trusted:
        raise InvalidModel(
            f"{given.path} ({found.name}) holds weights only; the class they belong to is missing.",
            hint="Name it: --class module:Class or --class file.py:Class, with --arg k=v for its "
            "constructor.",
        )
    if found.brings_code and not given.trusted:
        raise UntrustedModel(
            f"{given.path} ({found.name}) is a program: loading it runs code that is in it.",
            hint="If you trust where it comes from: --trust",
        )


def check_batches(spec: ModelSpec) -> None:
    """Check that a model can run the batches, and the requests at the same time, that it is to.

    Raises:
        InvalidModel: its runtime cannot, or its inputs are not known to take any number of rows.
    """
    if spec.concurrency > 1 and spec.runtime == "huggingface":
        raise InvalidModel(
            f"{spec.name} cannot work on {spec.concurrency} requests at the same time: "
            f"{spec.runtime} takes one.",
            hint="More processes do: --instances; or more of them in one pass: --batch-size",
        )
    if spec.runtime in {"command", "ollama"} and spec.batch_size > 1:
        raise InvalidModel("A server puts its batches together itself: leave --batch-size out.")
    tells_itself = spec.format in {"onnx", "exported"} or spec.runtime not in {"pytorch", "onnx"}
    fits = spec.signature.batchable if spec.signature.inputs else tells_itself
    if spec.batch_size > 1 and not fits:
        raise InvalidModel(
            f"{spec.name} cannot run in batches: its inputs are not known to take any number of "
            "rows.",
            hint="Declare them with -1 for the first axis: --input 'float32[-1,4]'",
        )


def _check_compiled(spec: ModelSpec) -> None:
    """A model that is compiled when it is loaded is compiled for what it takes."""
    if spec.runtime != "pytorch" or spec.args.get("compile") is not True:
        return
    if not spec.signature.inputs and spec.warmup is None and spec.format != "exported":
        raise InvalidModel(
            f"{spec.name} is to be compiled when it is loaded, and nothing says what it takes.",
            hint="Declare its inputs, with -1 for axes of any length: --input 'float32[-1,4]'; or "
            "give one: --warmup FILE",
        )


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _model_class(request: Register, payload: tuple[Buffer, ...], paths: Paths) -> str | None:
    """The model's class, made findable: a pickle is kept as a file, a source file must be there."""
    name = request.model.model_class
    if name is None:
        return None
    if name == PICKLED:
        return _keep_pickle(request.python_version, payload, paths)
    module, _, attribute = name.rpartition(":")
    if not module or not attribute.isidentifier() or name.startswith(PICKLED):
        raise InvalidModel(
            f"{shown(name)} names no class.", hint="Write module:Class or file.py:Class."
        )
    if module.endswith(".py") and not Path(module).is_file():
        raise InvalidModel(f"There is no file {module} to find the class {attribute} in.")
    return name


def _keep_pickle(python_version: str, payload: tuple[Buffer, ...], paths: Paths) -> str:
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python_version != ours:
        raise InvalidModel(
            f"The class was defined in Python {python_version or '?'}, the daemon runs {ours}: "
            "code does not travel between them.",
            hint="Put the class into a file and register it as model_class='file.py:Class'.",
        )
    if len(payload) != 1:
        raise InvalidModel("A pickled class travels in one payload frame.")
    code = bytes(payload[0])
    digest = hashlib.sha256(code).hexdigest()[:32]
    file = private_directory(paths.classes) / f"{digest}.pkl"
    try:
        write_atomically(file, code)
    except OSError as problem:
        raise SireError(f"Cannot write {file}: {problem.strerror}.") from None
    return f"{PICKLED}{file}"

"""From a client's definition of a model to the one that the registry keeps."""

import hashlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from sire.atomic import write_atomically
from sire.errors import InvalidModel, ModelNotFound, SireError, UntrustedModel, shown
from sire.options.derived import check_values
from sire.paths import Paths, nearest_file_hint, private_directory
from sire.protocol.content import Buffer
from sire.protocol.requests import Register
from sire.spec import ModelSpec, Signature, check_name
from sired.daemon.models.declared_inputs import check_declared_inputs
from sired.daemon.models.image_options import check_image_options
from sired.runtimes.arguments import check_arguments
from sired.runtimes.discovery import all_traits, find_traits
from sired.runtimes.traits import FileFormat, RuntimeTraits
from sired.store.formats import (
    ModelFormat,
    content_fingerprint,
    memory_of_weights,
    recognise,
)

PICKLED = "pickle:"
# The runtime of a class that is given without a file.
CLASSES = "python"


def complete(
    request: Register,
    payload: tuple[Buffer, ...],
    paths: Paths,
    read: Callable[[ModelSpec], ModelSpec],
) -> ModelSpec:
    """Check a definition and complete it with what the model's file states.

    Reads the disk: call it in a thread.

    Args:
        request: the definition.
        payload: a pickled class, if the definition has one.
        paths: where that is stored.
        read: reads the headers of the model's files: ``HeaderReaders.inspect``.

    Raises:
        ModelNotFound: the file does not exist.
        InvalidModel: an option or argument cannot apply to the model, or the declared inputs are
            not those that its file states.
        UntrustedModel: loading the file would run code from it, and the model is not trusted.
        InvalidConfiguration: the number of instances is not valid.
    """
    check_name(request.model.name)
    check_values(request.model)
    spec = read(request.model)
    check_arguments(find_traits(spec.runtime), spec)
    # Raises if the declared inputs are not its own.
    check_image_options(spec, spec.signature.completed_by(spec.stated))
    check_declared_inputs(spec.signature.inputs, spec.stated.inputs)
    check_batches(spec)
    return msgspec.structs.replace(
        spec,
        model_class=_model_class(request, payload, paths),
        alone="",
        registered_at=time.time(),
    )


def inspect(given: ModelSpec) -> ModelSpec:
    """Determine a model's runtime, format, size and fingerprint, and check its arguments.

    Reads headers, which may be made to exhaust what reads them: the daemon has this done by
    ``HeaderReaders``, in a process of its own.

    Raises:
        ModelNotFound: and InvalidModel, UntrustedModel: as ``complete``.
    """
    try:
        path = _path(given)
        _check_warmup(given)
        traits, found = _find_runtime(given, path)
        spec = msgspec.structs.replace(given, runtime=traits.name, notes=())
        if found is not None and path is not None:
            spec = _recognised(spec, traits, found, path)
        else:
            spec = msgspec.structs.replace(
                spec, weight_bytes=_size(path) if path else 0, weights_reported=False
            )
        if spec.args:  # an estimate may leave all of them out, also those that are required
            check_arguments(traits, spec)
        spec = msgspec.structs.replace(spec, fingerprint=_fingerprint(spec, traits, path))
        return spec if traits.on_register is None else traits.on_register(spec)
    except OSError as problem:  # a name too long, a disk that fails
        raise InvalidModel(f"{shown(given.path)} cannot be read: {problem.strerror}.") from None


def _find_runtime(given: ModelSpec, path: Path | None) -> tuple[RuntimeTraits, ModelFormat | None]:
    """The runtime that is to load a model, and the format of its file, if that is recognised."""
    if path is None or given.runtime != "auto":
        traits = _named_runtime(given)
        return traits, recognise(path) if path is not None and traits.formats else None
    by_suffix = [traits for traits in all_traits() if path.suffix in traits.suffixes]
    if len(by_suffix) > 1:
        names = ", ".join(sorted(traits.name for traits in by_suffix))
        raise InvalidModel(
            f"More than one runtime loads files that end in {path.suffix}: {names}.",
            hint="Specify one of them: --runtime NAME",
        )
    if by_suffix:
        return by_suffix[0], None
    found = recognise(path)
    return _loader_of(found.name), found


def _named_runtime(given: ModelSpec) -> RuntimeTraits:
    """The runtime that is given; for a class without a file the one that runs any class."""
    return find_traits(CLASSES if given.runtime == "auto" else given.runtime)


def _path(given: ModelSpec) -> Path | None:
    """The path of the model's file or directory, which has to exist; None if it needs none."""
    by_class = given.runtime == "auto" and not given.path and given.model_class is not None
    known = by_class or given.runtime != "auto"
    file = _named_runtime(given).file if known else "required"
    if file == "none" and given.path:
        raise InvalidModel(
            f"A model of the runtime {given.runtime} has no file of its own.",
            hint="Omit the path: arguments specify the model (--arg name=value).",
        )
    if not given.path and file != "required":
        return None
    if not given.path:
        raise InvalidModel(
            f"No file is specified for {given.name}.",
            hint="Specify it after the model's name, or what needs none: a class (--class), or a "
            "program that serves the model (--cmd).",
        )
    path = Path(given.path)
    if not path.is_absolute():
        raise InvalidModel(
            f"{shown(given.path)} is not an absolute path.", hint="Specify the absolute path."
        )
    if not path.exists():
        raise ModelNotFound(
            f"The file {shown(given.path)} does not exist.",
            hint=nearest_file_hint(path),
            path=str(path),
        )
    return path


def _check_warmup(given: ModelSpec) -> None:
    """Check that the warm-up input is a file: reading a device or a pipe may never end."""
    if given.warmup and not Path(given.warmup).is_file():
        raise InvalidModel(
            f"The warm-up input {shown(given.warmup)} is not a file.",
            hint="Specify a file with an input, as for sire predict: --warmup FILE",
        )


def _loader_of(format_name: str) -> RuntimeTraits:
    """The runtime that loads files of a format."""
    for traits in all_traits():
        if traits.format(format_name) is not None:
            return traits
    raise InvalidModel(f"None of the installed runtimes loads {format_name} files.")


def _recognised(
    spec: ModelSpec, traits: RuntimeTraits, found: ModelFormat, path: Path
) -> ModelSpec:
    """The model with the format and size that its file's content states."""
    file_format = traits.format(found.name)
    if file_format is None:
        loader = _loader_of(found.name).name
        raise InvalidModel(
            f"{path} is a {found.name} file, which {loader} loads, not {traits.name}.",
            hint="Omit --runtime: it is chosen by the file's format.",
        )
    _check_class_and_trust(spec, file_format)
    size = memory_of_weights(found, path, spec.args)
    return msgspec.structs.replace(
        spec,
        format=found.name,
        weight_bytes=size,
        stated=found.signature,
        notes=found.notes,
        # What was compiled for CPUs must not be placed on a GPU, the best device otherwise.
        device="cpu" if (spec.device, found.only_on) == ("auto", "cpu") else spec.device,
    )


def _check_class_and_trust(spec: ModelSpec, file_format: FileFormat) -> None:
    if spec.trusted:
        return
    if file_format.needs_class and spec.model_class is None:
        raise InvalidModel(
            f"{spec.path} ({file_format.name}) contains weights only, and no class is given for "
            "them.",
            hint="Specify it: --class module:Class or --class file.py:Class, with --arg k=v for "
            "its constructor.",
        )
    if file_format.needs_trust == "always":
        raise UntrustedModel(
            f"{spec.path} ({file_format.name}) is a program: loading it runs code from the file.",
            hint="If you trust its source: --trust",
        )
    if file_format.needs_trust == "without_class" and spec.model_class is None:
        raise UntrustedModel(
            f"{spec.path} ({file_format.name}) contains more than weights: loading it runs code "
            "from the file.",
            hint="If you trust its source: --trust. Better: save the state_dict as safetensors, "
            "and register it with --class.",
        )


def _fingerprint(spec: ModelSpec, traits: RuntimeTraits, path: Path | None) -> str:
    """A digest that models with the same memory requirements share.

    It is "" for a directory whose content is not recognised: its path stands for it.
    """
    content = "" if path is None else content_fingerprint(spec.format, path, spec.args)
    decisive = traits.memory_arguments
    if not (spec.args if decisive is None else decisive & spec.args.keys()):
        return content
    needs = repr((content or spec.path, sorted(spec.args.items())))
    return hashlib.sha256(needs.encode(errors="replace")).hexdigest()[:32]


def check_batches(spec: ModelSpec) -> None:
    """Check that a model can run batches and concurrent requests, as it is defined to.

    Raises:
        InvalidModel: its runtime cannot, or its inputs are not known to take any number of rows.
    """
    traits = find_traits(spec.runtime)
    if spec.concurrency > 1 and not traits.concurrent:
        raise InvalidModel(
            f"--concurrency must be 1 for {spec.name} (got {spec.concurrency}): the runtime "
            f"{traits.name} runs one request at a time.",
            hint="Use more processes: --instances; or run requests together: --batch-size",
        )
    if spec.batch_size > 1 and not traits.batches:
        raise InvalidModel(
            f"The runtime {traits.name} leaves batching to the server.", hint="Omit --batch-size."
        )
    signature = spec.signature.completed_by(spec.stated)
    # Outputs need not state their shapes: the worker knows them once it has run the model.
    known = Signature(signature.inputs)
    fits = known.batchable if known.inputs else traits.describes_inputs(spec.format)
    if spec.batch_size > 1 and not fits:
        raise InvalidModel(
            f"{spec.name} cannot run in batches: its inputs are not known to take any number of "
            "rows.",
            hint="Declare them with -1 for the first axis: --input 'float32[-1,4]'",
        )


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _model_class(request: Register, payload: tuple[Buffer, ...], paths: Paths) -> str | None:
    """The reference to the model's class; a pickled class is stored as a file first."""
    name = request.model.model_class
    if name is None:
        return None
    if name == PICKLED:
        return _store_pickle(request.python_version, payload, paths)
    module, _, attribute = name.rpartition(":")
    if not module or not attribute.isidentifier() or name.startswith(PICKLED):
        raise InvalidModel(
            f"{shown(name)} does not name a class.", hint="Write module:Class or file.py:Class."
        )
    if module.endswith(".py") and not Path(module).is_file():
        raise InvalidModel(f"The file {module} of the class {attribute} does not exist.")
    return name


def _store_pickle(python_version: str, payload: tuple[Buffer, ...], paths: Paths) -> str:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    if python_version != own:
        raise InvalidModel(
            f"The class was pickled by Python {python_version or '?'}, but the daemon runs {own}: "
            "code cannot be moved between them.",
            hint="Put the class into a file and register it as model_class='file.py:Class'.",
        )
    if len(payload) != 1:
        raise InvalidModel(f"A pickled class takes one payload frame (got {len(payload)}).")
    code = bytes(payload[0])
    digest = hashlib.sha256(code).hexdigest()[:32]
    file = private_directory(paths.classes) / f"{digest}.pkl"
    try:
        write_atomically(file, code)
    except OSError as problem:
        raise SireError(f"Cannot write {file}: {problem.strerror}.") from None
    return f"{PICKLED}{file}"

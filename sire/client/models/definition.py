"""From a name, a path and options to the definition that the daemon registers."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import msgspec

from sire.client.models.hub import find_model, is_hub_name, is_short_hub_name
from sire.client.models.of_runtimes import chosen_runtime, from_client
from sire.client.models.utf8_path import in_utf8
from sire.errors import InvalidModel, ModelNotFound, shown
from sire.model_directory import base_name, is_adapter, is_directory
from sire.options.derived import explicit_defaults, fields_from, read_options
from sire.options.option import ModelOption
from sire.paths import nearest_file_hint
from sire.spec import ModelSpec, check_name
from sire.values import PATH


class Definition(NamedTuple):
    """A model as its user defines it.

    Attributes:
        spec: the definition; the daemon completes it from the model's file.
        explicit: options given with the value they have anyway, so that ``[defaults]`` does not
            replace it.
    """

    spec: ModelSpec
    explicit: tuple[str, ...] = ()


def define_model(
    name: str,
    path: PathLike[str] | str | None,
    options: Mapping[str, Any],
    *,
    class_path: Sequence[str] = (),
    place: Callable[[ModelOption], str] = lambda option: option.name,
) -> Definition:
    """Define a model; relative paths start in the working directory.

    Args:
        name: the model's name.
        path: its file or directory; None for a model without one, such as a program. For the
            runtime huggingface also ``organisation/model``, its name on the hub: it is downloaded
            unless it is in the hub's cache.
        options: values by the names of ``sire.options.table``; None stands for an option that is
            not given. With ``cmd`` and no runtime the runtime is "command", and the argument
            ``directory`` is the working directory. For the runtime ollama, the argument ``host``
            is by default ``OLLAMA_HOST`` of this process; the daemon's may differ.
        class_path: directories to import the class from; by default the working directory for a
            module, its own directory for a file. Those of the option ``python_path`` come first.
        place: what an error calls an option.

    Raises:
        InvalidModel: the name, an option or an input is not valid.
        InvalidConfiguration: an option's value is not of its kind.
        SireError: the path is not UTF-8, and a link to it cannot be made.
    """
    values = read_options(options, place)
    fields = fields_from(values)
    args, runtime = fields.get("args", {}), fields.get("runtime", "auto")
    if runtime == "auto" and "model_class" not in fields:
        runtime = fields["runtime"] = chosen_runtime(args)
    given = from_client(runtime)
    args = {**given.arguments(args), **args}
    may_be_on_hub = runtime == "auto" or given.from_hub
    python_path = _import_path(fields, class_path)
    if path is None and may_be_on_hub and is_hub_name(name):
        raise InvalidModel(
            f"No file is specified for {name}.",
            hint="If it is the name of a model on the Hugging Face hub, write it twice: "
            f"sire register {name} {name} --runtime huggingface",
        )
    place_of_model = "" if path is None else _locate_model(path, runtime)
    if may_be_on_hub:
        args |= _located_base(place_of_model, args)
    spec = ModelSpec(
        name=check_name(name),
        path=place_of_model,
        python_path=python_path,
        **{**fields, "args": args},
    )
    _check_text(spec)
    return Definition(spec, explicit_defaults(values))


def _check_text(spec: ModelSpec) -> None:
    """Ensure that the paths of code and of inputs can be sent and stored."""
    try:
        msgspec.msgpack.encode(spec)
    except UnicodeEncodeError as problem:
        raise InvalidModel(
            f"{shown(problem.object)} is not valid UTF-8.",
            hint="Rename the directory or file. Only the model's own path can have such a name.",
        ) from None


def _import_path(fields: dict[str, Any], class_path: Sequence[str]) -> tuple[str, ...]:
    """The directories that a model's code is imported from."""
    given, reference = fields.pop("python_path", ()), fields.get("model_class")
    if class_path or reference == "pickle:":
        return (*given, *class_path)
    if reference is None:
        # A whole module that is trusted imports the code that it was defined in.
        return given or ((str(Path.cwd()),) if fields.get("trusted") else ())
    module = reference.rpartition(":")[0]
    own = str(PurePath(module).parent) if module.endswith(".py") else str(Path.cwd())
    return (*given, own)


def _locate_model(path: PathLike[str] | str, runtime: str) -> str:
    text, from_hub = str(path), from_client(runtime).from_hub
    if (from_hub or runtime == "auto") and not Path(path).exists():
        if is_hub_name(text):
            if from_hub:
                return str(find_model(text))
            remedy = "If it is the name of a model on the Hugging Face hub, which is downloaded "
            raise _missing(path, f"{remedy}then: --runtime huggingface")
        if is_short_hub_name(text):
            remedy = "If it is the name of a model on the Hugging Face hub, write it with its "
            raise _missing(path, f"{remedy}organisation: organisation/{text} --runtime huggingface")
    return in_utf8(str(PATH.read(path)))


def _missing(path: PathLike[str] | str, remedy: str) -> ModelNotFound:
    whole = Path(path).absolute()
    hints = [hint for hint in (nearest_file_hint(whole), remedy) if hint]
    return ModelNotFound(f"The file {shown(str(whole))} does not exist.", hint=" ".join(hints))


def _located_base(path: str, args: Mapping[str, Any]) -> dict[str, str]:
    """The argument ``base`` of an adapter, where the daemon could not find its base by itself.

    A base that is given is relative to the working directory, one that the adapter states also to
    the adapter. Either can be a name on the hub.
    """
    if not path or not is_adapter(Path(path)):
        return {}
    given = args.get("base")
    named = str(given or base_name(Path(path)))
    if not named or (given is None and is_directory(Path(path) / named)):
        return {}
    if is_directory(Path(named)):
        return {"base": str(Path(named).absolute())}
    return {"base": str(find_model(named))} if is_hub_name(named) else {}

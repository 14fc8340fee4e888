"""What a runtime can do, stated without importing its framework.

Every runtime has one record of traits, in a module of its own that imports neither the framework
nor numpy. An entry point of the group ``sire.runtimes`` names the record. The daemon reads it; the
class that it names as ``implementation`` is imported in workers only.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal

import msgspec

from sire.spec import ModelSpec

Trust = Literal["never", "without_class", "always"]
Preload = Literal["first", "always", "when_registered", "never"]


class NoArguments(msgspec.Struct, frozen=True):
    """The arguments of a runtime that takes none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFormat:
    """One kind of model file that a runtime loads.

    Attributes:
        name: as ``sired.store.formats.recognise`` reports it: safetensors, state_dict, pickle,
            exported, aoti, torchscript, onnx or transformers.
        takes_class: the model's class can be given with ``--class``.
        needs_class: the file holds weights only, so that ``--class`` is required.
        needs_trust: whether ``--trust`` is required, because loading the file runs code from it;
            "without_class" for files that are loaded as plain weights once a class is given.
        describes_inputs: the file states the dtypes and shapes of its inputs.
        estimates: ``estimate`` can report more than the file's header does.
        checks: ``check_files`` can tell at registration whether such a file can be loaded.
        arguments: those of the runtime's arguments that apply to such a file; None for all.
    """

    name: str
    takes_class: bool = False
    needs_class: bool = False
    needs_trust: Trust = "never"
    describes_inputs: bool = False
    estimates: bool = False
    checks: bool = False
    arguments: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeTraits:
    """What the daemon and the workers have to know about a runtime.

    The methods named here are those of ``InferenceRuntime``. A method is called only if its trait
    is set, and has to be overridden if it is.

    Attributes:
        name: of the runtime; the same as the name of its entry point.
        implementation: ``package.module:Class``, a subclass of ``InferenceRuntime``.
        arguments: a record whose fields declare the names, types and defaults of ``--arg``.
        class_arguments: arguments that the record does not declare go to the constructor of the
            model's class.
        memory_arguments: the arguments on which a model's memory depends; None if any might.
        formats: the recognised file formats that it loads. Without any, its models are not
            recognised by their content: they have to be registered with ``--runtime``, or to have
            one of the ``suffixes``.
        suffixes: endings of file names, such as ``.py``, that are taken for its models.
        file: whether a model of it is a file or directory, whose path is "required"; has one if
            its arguments refer to it ("optional"); or has "none".
        out_of_process: another process computes (a program or a server), so that the worker's
            threads only wait for it. Such a worker is given time to end it, and is never killed
            at once.
        serves_http: the program that holds the model serves any client over HTTP, at ``url``.
        concurrent: ``predict`` and ``forward`` may be called from several threads at once.
        batches: requests may be run together; False where the program or server batches by itself.
        streams_files: ``streams_files`` may report that a load reads its files fast by itself.
        checks: ``check_files`` may tell before it is loaded whether a model can be loaded.
        estimates: ``estimate`` may report the size of the weights before they are loaded.
        accepts_dummy_input: ``accepts_dummy_input`` may allow a trial on zeros after loading.
        sleeps: ``can_sleep``, ``sleep`` and ``wake`` may move the weights to main memory.
        preload: whether the fork server imports the implementation, so that workers need not:
            "always", "never", or "when_registered", once a model of this runtime is registered;
            "first" is the same, but before others, because they use libraries that it loads.
            Modules that start threads or use a device when imported must not be preloaded.
        also_imports: names other runtimes whose frameworks a worker of a model imports.
        import_bytes: main memory that a worker takes for importing the implementation, if the fork
            server has not.
        on_register: called in the daemon when a model is registered or estimated; checks its
            definition further and returns it, completed. It may read headers and ask servers.
            It must not import a framework, and raises InvalidModel to reject the model.
    """

    name: str
    implementation: str
    arguments: type[msgspec.Struct] = NoArguments
    class_arguments: bool = False
    memory_arguments: frozenset[str] | None = None
    formats: tuple[FileFormat, ...] = ()
    suffixes: tuple[str, ...] = ()
    file: Literal["required", "optional", "none"] = "required"
    out_of_process: bool = False
    serves_http: bool = False
    concurrent: bool = False
    batches: bool = True
    streams_files: bool = False
    checks: bool = False
    estimates: bool = False
    accepts_dummy_input: bool = False
    sleeps: bool = False
    preload: Preload = "when_registered"
    also_imports: Callable[[ModelSpec], Collection[str]] | None = None
    import_bytes: int = 0
    on_register: Callable[[ModelSpec], ModelSpec] | None = None

    @property
    def module(self) -> str:
        """The module that the implementation is in."""
        return self.implementation.partition(":")[0]

    def format(self, name: str) -> FileFormat | None:
        """The format of that name; None if this runtime does not load it."""
        return next((known for known in self.formats if known.name == name), None)

    def describes_inputs(self, format_name: str) -> bool:
        """Whether a model may report its inputs; unknown formats are given the benefit of doubt."""
        known = self.format(format_name)
        return known is None or known.describes_inputs

    def may_estimate(self, spec: ModelSpec) -> bool:
        """Whether ``estimate`` may report more about a model than the size of its files."""
        known = self.format(spec.format)
        if not self.estimates or known is None:
            return self.estimates
        return known.estimates and (spec.model_class is not None or not known.needs_class)

    def may_check(self, spec: ModelSpec) -> bool:
        """Whether ``check_files`` can tell without loading a model whether it can be loaded."""
        known = self.format(spec.format)
        if not self.checks or known is None:
            return self.checks
        return known.checks and (spec.model_class is not None or not known.needs_class)

    def passes_to_class(self, spec: ModelSpec) -> bool:
        """Whether arguments that are not declared here go to the constructor of a class."""
        known = self.format(spec.format)
        if known is None:
            return self.class_arguments
        return self.class_arguments and known.takes_class and spec.model_class is not None


def is_preloaded(traits: RuntimeTraits, needed: Collection[str]) -> bool:
    """Whether the fork server imports a runtime; ``needed`` names those that models need."""
    if traits.preload in ("first", "when_registered"):
        return traits.name in needed
    return traits.preload == "always"

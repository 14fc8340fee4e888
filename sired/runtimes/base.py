"""The interface of a runtime."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sire.protocol.content import Payload
from sire.spec import Signature
from sired.runtimes.reading import ReadProgress
from sired.runtimes.traits import RuntimeTraits


@dataclass(frozen=True, slots=True)
class ModelCacheDirectory:
    """Where a runtime may store what is expensive to derive from a model, between loads.

    Attributes:
        directory: the model's own. The runtime creates it. It is deleted when the model is
            removed, and may be missing or damaged at any time.
        content: a digest that changes when the model's files change.
    """

    directory: Path
    content: str


class InferenceRuntime(ABC):
    """Loads models of one kind and runs them; one object per worker process.

    ``load``, ``predict`` and ``get_memory_footprint`` have to be implemented. The other methods
    have defaults that are valid for every runtime. Some are called only if the runtime's traits
    state that it implements them.

    Attributes:
        traits: of the runtime; set before any method is called.
        progress: of the load; a runtime that ``streams_files`` reports to it. A load that reports
            nothing for ``daemon.load_timeout`` is considered to hang.
        declared: the signature that the user declared; inputs are checked against it before
            ``predict`` is called.
        cache_directory: where to store what is expensive to derive; None to store nothing.
        memory_limit: the bytes that the user declared for a model on a GPU, which a runtime makes
            the limit of its allocator; None without one. On a CPU the process is limited.
    """

    traits: RuntimeTraits
    progress: ReadProgress = ReadProgress()
    declared: Signature = Signature()
    cache_directory: ModelCacheDirectory | None = None
    memory_limit: int | None = None

    @abstractmethod
    def load(self, model_path: str, **kwargs: Any) -> Any:
        """Load the model at ``model_path`` and return it, ready for ``predict``.

        Args:
            model_path: absolute path of the file or directory; "" if the model has none.
            **kwargs: ``device`` ("cpu" or "cuda:0": a worker sees only the device granted to it),
                ``format`` (as recognised when registered), ``model_class``, ``python_path``,
                ``trusted`` and ``weight_bytes`` as in ``ModelSpec``, then the model's ``args``.
                Those that go to a class and have one of these names are in ``class_arguments``;
                ``sired.runtimes.arguments.own_arguments`` returns all that are the model's.

        Raises:
            UntrustedModel: loading would run code from the file, and ``trusted`` is false.
            InvalidModel: the file is damaged or of the wrong format, or an argument is not valid.
            LoadFailed: the model cannot be loaded for another reason. Out-of-memory errors
                propagate unchanged.
        """

    @abstractmethod
    def predict(self, model: Any, data: Any) -> Any:
        """Run the model once.

        Args:
            model: what ``load`` returned.
            data: a numpy array, a string, or dicts, lists and tuples of them; arrays may be
                read-only. A dict maps names to inputs, a tuple has them in order.

        Returns:
            The same kinds of data: numpy arrays, numbers, strings, dicts, lists, tuples.

        Raises:
            InvalidInput: the data does not match the model's own signature.
            Exception: any error of the model, including out-of-memory errors.
        """

    @abstractmethod
    def get_memory_footprint(self, model: Any) -> int:
        """Bytes of device memory that the model's weights and buffers occupy."""

    def check_arguments(self, model_path: str, **kwargs: Any) -> None:  # noqa: B027
        """Check arguments that only the model's class knows, without loading the model.

        Called when the model is registered, in a process of its own, with the arguments of
        ``load``.

        Raises:
            InvalidModel: the class is not found, or its constructor does not take them.
        """

    def check_files(self, model_path: str, **kwargs: Any) -> Sequence[str]:  # noqa: ARG002
        """Check, without loading it, whether a model can be loaded.

        Called when the model is registered, in a process of its own, with the arguments of
        ``load``, for the file formats whose ``checks`` is set.

        Returns:
            Sentences for the user: what was chosen from the file, converted or ignored.

        Raises:
            InvalidModel: it cannot be loaded; it is not registered then.
            UntrustedModel: it cannot be loaded without trust; it is not registered then.
            Exception: it cannot be checked; loading will report why.
        """
        return ()

    def estimate(self, model_path: str, **kwargs: Any) -> int | None:  # noqa: ARG002
        """Bytes of device memory that the model's weights will occupy, without loading them.

        Args:
            model_path: as for ``load``.
            **kwargs: as for ``load``.

        Returns:
            None if the sizes stated in its files are sufficient.

        Raises:
            Exception: the size cannot be determined; loading will report why.
        """
        return None

    def streams_files(self, model_path: str, **kwargs: Any) -> bool:  # noqa: ARG002
        """Whether a load with these arguments reads files efficiently and reports ``progress``.

        Otherwise the worker reads the model's files ahead while it loads.
        """
        return False

    def prepare(self, model: Any, data: Any) -> Any:  # noqa: ARG002
        """Move data towards the device ahead of time; the result is passed to ``predict``.

        Called for requests that do not run in a batch, possibly in another thread while ``predict``
        processes the previous request.

        Raises:
            Exception: as ``predict``.
        """
        return data

    def signature(self, model: Any) -> Signature:  # noqa: ARG002
        """The model's inputs and outputs, as far as its file states them."""
        return Signature()

    def accepts_dummy_input(self, model: Any) -> bool:  # noqa: ARG002
        """Whether it may be run on zeros of its input shapes once it is loaded.

        Only models that do nothing but compute may: a user's own code can have side effects.
        """
        return False

    def share_cores(self, among: int) -> None:  # noqa: B027 (those without threads have nothing to do)
        """Limit the calling thread's computation to one of ``among`` equal shares of the cores.

        Called by a thread before it computes, only if several threads may compute at once.
        """

    def precision_bytes(self, model: Any) -> int:  # noqa: ARG002
        """Bytes per number in which the model computes; bounds the accuracy of its outputs.

        3 for TensorFloat-32, in which GPUs multiply float32.
        """
        return 8

    def state(self, model: Any) -> Any:  # noqa: ARG002
        """What the model remembers between requests, as ``support.state.marks_of`` returns it.

        Compared between the first requests, to report models whose answers may depend on others.

        Returns:
            None if it is not known, or nothing.
        """
        return None

    def writes_state(self, model: Any) -> Sequence[str]:  # noqa: ARG002
        """The names of attributes that the model's code states to set while it answers."""
        return ()

    def warmup(self, model: Any) -> None:  # noqa: B027 (most have nothing to do)
        """Do the one-time work that would slow down the first request; by default nothing."""

    def forward(
        self,
        model: Any,  # noqa: ARG002
        payload: Payload,  # noqa: ARG002
        accept: str,  # noqa: ARG002
    ) -> Payload | None:
        """Process an input without decoding it; None if it has to be decoded for ``predict``.

        For models that read content types themselves. The output should be of the content type
        ``accept``; an output of another type is decoded and encoded again.

        Raises:
            Exception: as ``predict``.
        """
        return None

    def stream(self, model: Any, data: Any) -> Generator[Any, None, None]:
        """Run the model once and yield its output in parts, each as soon as it is available.

        Parts that are strings form one text; other parts are independent. The caller closes the
        generator to cancel the rest.

        Raises:
            Exception: as ``predict``.
        """
        yield self.predict(model, data)

    def forward_stream(
        self,
        model: Any,  # noqa: ARG002
        payload: Payload,  # noqa: ARG002
        accept: str,  # noqa: ARG002
    ) -> Generator[Payload, None, None] | None:
        """Stream an input without decoding it; None if it has to be decoded for ``stream``.

        For models that read content types themselves.

        Raises:
            Exception: as ``predict``.
        """
        return None

    def processes(self, model: Any) -> Sequence[int]:  # noqa: ARG002
        """The ids of other processes that hold the model; the others depend on the first.

        Their memory is measured together with the worker's. When the first one ends, the worker
        ends as well, and the next request starts a new one.
        """
        return ()

    def held_elsewhere(self, model: Any) -> int:  # noqa: ARG002
        """Bytes of device memory that a server reports to hold for the model."""
        return 0

    def url(self, model: Any) -> str:  # noqa: ARG002 (most are served by nothing else)
        """Where a program serves the model to any client over HTTP, without a path; "" if none."""
        return ""

    def unload(self) -> None:  # noqa: B027 (most have nothing to do)
        """Release what is held outside of this process, which ends afterwards.

        Called from any thread, possibly while ``load`` is still running. Memory of the process
        itself need not be released.
        """

    def peak_device_memory(self) -> int:
        """Peak GPU memory of this process in bytes, without the CUDA context; 0 on a CPU.

        Reset by ``release_unused_memory``, and each time the model is put to sleep.
        """
        return 0

    def release_unused_memory(self) -> None:  # noqa: B027 (most keep none)
        """Return device memory that is kept for reuse, and reset ``peak_device_memory``."""

    def can_sleep(self, model: Any) -> bool:  # noqa: ARG002
        """Whether ``sleep`` and ``wake`` can move this model's weights."""
        return False

    def sleep(self, model: Any) -> None:
        """Move the weights to main memory and release all of the device's memory.

        On a CPU the weights stay in place. ``predict`` is not called before ``wake``.
        """
        raise NotImplementedError

    def wake(self, model: Any) -> int:
        """Move the weights back to the device, bit by bit as they were.

        Returns:
            Bytes of main memory that stay allocated for the next ``sleep``.

        Raises:
            Exception: any error of the framework, including out-of-memory errors.
        """
        raise NotImplementedError

    def free_main_memory(self, model: Any) -> None:
        """Release the main memory that ``wake`` kept; called only if it kept any."""
        raise NotImplementedError

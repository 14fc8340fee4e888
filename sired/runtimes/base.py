"""What a runtime must be able to do."""

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
    """Where a runtime may keep what takes long to make of a model, from one load to the next.

    Attributes:
        directory: the model's own. Who first writes there makes it; it goes when the model is
            removed, and may be missing or damaged at any time.
        content: a digest that is another one once the model's files are others.
    """

    directory: Path
    content: str


class InferenceRuntime(ABC):
    """Loads models of one kind and runs them; one object per worker process.

    ``load``, ``predict`` and ``get_memory_footprint`` are all a runtime needs. The others have
    answers that are true of every runtime, and may be overridden by better ones.

    Attributes:
        progress: of the load; a runtime that ``streams_files`` tells it what it has read. A load
            that tells nothing for ``daemon.load_timeout`` is taken to hang.
        declared: what the user said that the model takes; data is held against it before it comes
            to ``predict``.
        keeping: where to keep what takes long to make; None to keep nothing.
    """

    traits: RuntimeTraits
    progress: ReadProgress = ReadProgress()
    declared: Signature = Signature()
    cache_directory: ModelCacheDirectory | None = None

    @abstractmethod
    def load(self, model_path: str, **kwargs: Any) -> Any:
        """Bring the model at ``model_path`` into memory and return it, ready to predict.

        Args:
            model_path: absolute path of the file or directory; "" where the model has none.
            **kwargs: ``device`` ("cpu" or "cuda:0": a worker sees only the device it was given),
                ``format`` (as recognised when registered), ``model_class``, ``python_path``,
                ``trusted`` and ``weight_bytes`` as in ``ModelSpec``, then the model's ``args``.

        Raises:
            UntrustedModel: it would run code from the file, and ``trusted`` is false.
            InvalidModel: the file is not what it should be, or an argument is unknown.
            LoadFailed: anything else went wrong; out of memory is left to propagate.
        """

    @abstractmethod
    def predict(self, model: Any, data: Any) -> Any:
        """Run the model once.

        Args:
            model: what ``load`` returned.
            data: a numpy array, a string, or dicts, lists and tuples of them; arrays may be
                read-only. A dict gives the inputs by name, a tuple in order.

        Returns:
            The same kinds of data: numpy arrays, numbers, strings, dicts, lists, tuples.

        Raises:
            InvalidInput: the model cannot take this data, by its own signature.
            Exception: whatever the model raised, out of memory included.
        """

    @abstractmethod
    def get_memory_footprint(self, model: Any) -> int:
        """Bytes of device memory that the model's weights and buffers take."""

    def check_arguments(self, model_path: str, **kwargs: Any) -> None:  # noqa: B027
        """Check arguments that only the model's class knows, without loading the model.

        Called when the model is registered, in a process of its own, with the arguments of
        ``load``.

        Raises:
            InvalidModel: the class is not found, or its constructor does not take them.
        """

    def estimate(self, model_path: str, **kwargs: Any) -> int | None:  # noqa: ARG002
        """Bytes that the model's weights will take, told without loading them.

        Args:
            model_path: as for ``load``.
            **kwargs: as for ``load``.

        Returns:
            None where the sizes in its files tell it as well.

        Raises:
            Exception: it cannot be told; loading will tell why.
        """
        return None

    def streams_files(self, model_path: str, **kwargs: Any) -> bool:  # noqa: ARG002
        """Whether a load with these arguments reads its files fast, and tells ``progress``.

        Otherwise the file is read ahead while it loads.
        """
        return False

    def prepare(self, model: Any, data: Any) -> Any:  # noqa: ARG002
        """Bring data nearer to the model, before its turn; ``predict`` is given what this returns.

        It is called for requests that run alone, perhaps in another thread while ``predict`` works
        on the request before.

        Raises:
            Exception: as ``predict``.
        """
        return data

    def signature(self, model: Any) -> Signature:  # noqa: ARG002
        """What the model takes and gives, as far as the file says."""
        return Signature()

    def accepts_dummy_input(self, model: Any) -> bool:  # noqa: ARG002
        """Whether it may be tried on zeros, of the shapes it takes, once it is loaded.

        That is for models that only compute. What a user's own code does else, nobody knows.
        """
        return False

    def share_cores(self, among: int) -> None:  # noqa: B027 (those without threads have nothing to do)
        """Let what this thread computes from now on take one of so many parts of the cores.

        Called, by the thread that is to compute, only where several may at the same time.
        """

    def precision_bytes(self, model: Any) -> int:  # noqa: ARG002
        """Bytes of the numbers the model computes in: its answers are as exact as these at most."""
        return 8

    def warmup(self, model: Any) -> None:  # noqa: B027 (most have nothing to do)
        """Do once, after loading, what would make the first request slow; by default nothing."""

    def forward(
        self,
        model: Any,  # noqa: ARG002
        payload: Payload,  # noqa: ARG002
        accept: str,  # noqa: ARG002
    ) -> Payload | None:
        """Answer an input as it came, undecoded; None where it has to be decoded for ``predict``.

        For models that read content types themselves. The answer is best of the type ``accept``;
        one of another is decoded and written anew.

        Raises:
            Exception: as ``predict``.
        """
        return None

    def stream(self, model: Any, data: Any) -> Generator[Any, None, None]:
        """Run the model once, and give its answer in parts, each as soon as it is there.

        Parts that are strings make up one text, parts of other kinds stand for themselves. Who
        wants no more of them closes the generator.

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
        """Like ``stream`` for an input as it came; None where it has to be decoded for ``stream``.

        For models that read content types themselves.

        Raises:
            Exception: as ``predict``.
        """
        return None

    def processes(self, model: Any) -> Sequence[int]:  # noqa: ARG002
        """The ids of other processes that hold the model; the first is the one they depend on.

        Their memory is measured with this process's own. Once the first has ended, so has the
        worker: the next request finds a fresh one.
        """
        return ()

    def held_elsewhere(self, model: Any) -> int:  # noqa: ARG002
        """Bytes of device memory that a server holds for the model, by its own word."""
        return 0

    def unload(self) -> None:  # noqa: B027 (most have nothing to do)
        """Let go of what is held outside of this process; it ends right after.

        Called from any thread, also while ``load`` still runs. What the process holds itself
        needs no care.
        """

    def peak_device_memory(self) -> int:
        """Most bytes of GPU memory this process has held at once, context excluded; 0 on a CPU.

        It counts anew from each time the model went to sleep.
        """
        return 0

    def can_sleep(self, model: Any) -> bool:  # noqa: ARG002
        """Whether ``sleep`` and ``wake`` can move this model's weights."""
        return False

    def sleep(self, model: Any) -> None:
        """Bring the weights to main memory, and give all of the device's memory back.

        On a CPU they stay where they are. Nothing is predicted until ``wake``.
        """
        raise NotImplementedError

    def wake(self, model: Any) -> int:
        """Bring the weights back to the device, every bit as it was.

        Returns:
            Bytes of main memory that it keeps, ready for the next ``sleep``.

        Raises:
            Exception: whatever the framework raised, out of memory included.
        """
        raise NotImplementedError

    def free_main_memory(self, model: Any) -> None:
        """Give back what ``wake`` kept; asked only if it kept anything."""
        raise NotImplementedError


_OUT_OF_MEMORY_TYPES = {"MemoryError", "OutOfMemoryError"}
_OUT_OF_MEMORY_PHRASES = (
    "out of memory",
    "can't allocate memory",
    "failed to allocate memory",
    "bfcarena::allocate",
    "cublas_status_alloc_failed",
    "bad_alloc",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out, in whichever framework's words."""
    names = {kind.__name__ for kind in type(error).__mro__}
    message = str(error).lower()
    return bool(names & _OUT_OF_MEMORY_TYPES) or any(
        phrase in message for phrase in _OUT_OF_MEMORY_PHRASES
    )

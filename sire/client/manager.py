"""The Python API: models through the user's daemon, or through a private one."""

import sys
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec

from sire.client.calls.jobs import JobCalls, answer_from
from sire.client.calls.many import ManyCalls, futures_pipeline, pack_request, predict_request
from sire.client.calls.pools import PoolCalls, reply_timeout
from sire.client.daemon_client import DaemonClient
from sire.client.models.classes import ClassReference, refer_to
from sire.client.models.definition import define_model
from sire.client.opening import open_client
from sire.client.private_daemon import PrivateDaemon
from sire.errors import AccessDenied, DaemonUnavailable, InvalidConfiguration
from sire.options.derived import documents_options, options_among
from sire.paths import find_paths
from sire.protocol.replies import (
    EstimateReport,
    HealthReport,
    InstanceInfo,
    ModelInfo,
    ModelList,
    StatsReport,
    Unloaded,
)
from sire.protocol.requests import (
    Estimate,
    Health,
    ListModels,
    Load,
    Move,
    Predict,
    Register,
    Remove,
    Stats,
    Unload,
)
from sire.spec import Priority, Signature, TensorSpec


class ModelManager(JobCalls, PoolCalls, ManyCalls):
    """Registers, loads and runs models; can be used from several threads at once.

    Args:
        url: the gateway of another machine, like ``https://box:8470``: ``sire serve`` runs there.
            It takes neither registrations nor leases. None for a daemon of this machine.
        key: an API key for the gateway; None for that in ``SIRE_KEY``, if it is set.
        embedded: run a private daemon, with its own registry, for the lifetime of this object;
            otherwise connect to the user's daemon, and start it if none runs.
        home: the directory of the daemon, like ``SIRE_HOME``; None for the user's daemon, or for a
            temporary directory of the private one.

    Raises:
        InvalidConfiguration: the URL is not valid, or it is given with ``embedded`` or ``home``.
        DaemonUnavailable: the private daemon could not be started. Without ``embedded`` the first
            call raises it.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        embedded: bool = False,
        home: str | Path | None = None,
    ) -> None:
        self._closed = False
        self._lock = threading.Lock()
        self._is_remote = url is not None
        self._private: PrivateDaemon | None = None
        if url is not None and (embedded or home is not None):
            raise InvalidConfiguration(
                "A URL is of another machine's daemon, while embedded and home are of this one's.",
                hint="Give one of them.",
            )
        if embedded:
            self._private = PrivateDaemon(home)
            paths = self._private.paths
        else:
            paths = find_paths({"SIRE_HOME": str(home)} if home else None)
        self._new_connection = partial(open_client, url, key, paths=paths, autostart=not embedded)
        # The first one is made here, since it reports a URL that is not valid.
        self._idle = [self._new_connection()]
        self._background = futures_pipeline(self._new_connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and stop the private daemon, if there is one.

        Futures of ``submit_async`` without an answer are cancelled.
        """
        self._background.close()
        with self._lock:
            self._closed = True
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()
        if self._private is not None:
            self._private.end()

    @documents_options
    def register_model(  # noqa: D417 (the decorator describes the options)
        self,
        name: str,
        model_path: str | Path | None,
        runtime: str = "auto",
        *,
        model_class: type | str | None = None,
        python_path: Sequence[str | Path] | None = None,
        trust: bool | None = None,
        inputs: Sequence[str | TensorSpec] | None = None,
        signature: Signature | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        image_fit: str | None = None,
        pad_value: int | None = None,
        channel_order: str | None = None,
        pixel_range: Sequence[float] | None = None,
        side_multiple: int | None = None,
        audio_rate: int | None = None,
        warmup: str | Path | None = None,
        device: str | None = None,
        group: str | None = None,
        max_memory: str | int | None = None,
        keep_alive: str | float | None = None,
        pin: bool | None = None,
        priority: Priority | None = None,
        weight: float | None = None,
        instances: str | int | None = None,
        batch_size: int | None = None,
        batch_delay: str | float | None = None,
        concurrency: int | None = None,
        cache: bool | None = None,
        replace: bool = False,
        **args: Any,
    ) -> ModelInfo:
        """Register a model under a name.

        An option that is None has the value of ``[defaults]`` in the daemon's settings, or else its
        built-in default. Sizes are bytes or text like ``2GiB``, durations seconds or text like
        ``5m``.

        Args:
            name: letters, digits, ``.``, ``_`` and ``-``.
            model_path: the model's file or directory; None for a program that needs none.
            {options}
            replace: replace a model of the same name.
            **args: arguments of the model's class or of the runtime. A program that serves the
                model over HTTP is given by ``cmd``, ``health`` and ``endpoint``.

        Returns:
            The model as the daemon recognized it.

        Raises:
            ModelExists: the name is taken, and ``replace`` is false.
            ModelNotFound: the file does not exist.
            InvalidModel: the file, the class or an option is not valid.
            InvalidConfiguration: a size, duration, priority or number cannot be read.
            UntrustedModel: the file would run code, and ``trust`` is not set.
            AccessDenied: the daemon is that of another machine.
        """
        options = options_among(locals())
        self._check_here("Models are registered")
        reference = _refer(model_class)
        defined = define_model(
            name,
            model_path,
            {**options, "model_class": reference.name or None},
            class_path=reference.python_path,
        )
        version = f"{sys.version_info.major}.{sys.version_info.minor}" if reference.pickle else ""
        payload = [reference.pickle] if reference.pickle else []
        request = Register(
            model=defined.spec,
            replace=replace,
            python_version=version,
            explicit=defined.explicit,
        )
        with self._connection() as connection:
            return connection.expect(ModelInfo, request, payload)

    def estimate(
        self,
        model_path: str | Path,
        runtime: str = "auto",
        *,
        model_class: str | None = None,
        device: str | None = None,
        **args: Any,
    ) -> EstimateReport:
        """Estimate the memory a model needs on each device; it need not be registered.

        Headers are read, and no code in the files is run, so that neither a class nor trust is
        needed. Code of your own, a ``.py`` file or a class that is named (``module:Class`` or
        ``file.py:Class``, constructed with ``args``), is asked as well: for its own estimate, or
        for the size of a PyTorch module's weights.

        Raises:
            ModelNotFound: the file does not exist.
            InvalidModel: the file is not of a known format.
            AccessDenied: the daemon is that of another machine.
        """
        self._check_here("Files are examined")
        defined = define_model("estimate", model_path, options_among(locals()))
        request = Estimate(model=defined.spec, explicit=defined.explicit)
        with self._connection() as connection:
            return connection.expect(EstimateReport, request)

    def load_model(self, name: str, device: str = "auto") -> InstanceInfo:
        """Load a model now, on a device or on the one that the placement strategy chooses.

        Returns:
            The instance, once it is ready.

        Raises:
            ModelNotFound: no model has this name.
            DeviceNotFound: no device has that name.
            InsufficientMemory: it does not fit, even after other models are unloaded.
            LoadFailed: it cannot be loaded.
            UntrustedModel: its file would run code, and it is not trusted.
            InvalidModel: its file or class is not valid.
        """
        with self._connection() as connection:
            return connection.expect(
                InstanceInfo, Load(name=name, device=None if device == "auto" else device)
            )

    def unload_model(self, name: str) -> int:
        """Unload every instance of a model; returns their number, once their memory is free.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            return connection.expect(Unloaded, Unload(name=name)).instances

    def move_model(self, name: str, to: str) -> None:
        """Move a model to a device or ``"auto"``, to main memory (``"dram"``), or to ``"disk"``.

        In main memory it is asleep; on disk it is unloaded.

        Raises:
            ModelNotFound: no model has this name.
            DeviceNotFound: ``to`` is not a device, "auto", "dram" or "disk".
            InsufficientMemory: it does not fit there.
            InvalidInput: its runtime does not support sleep.
        """
        with self._connection() as connection:
            connection.ask(Move(name=name, to=to))

    def predict(
        self,
        model_name: str,
        data: Any,
        timeout: float | None = None,
        *,
        priority: Priority | None = None,
        keep_alive: str | float | None = None,
    ) -> Any:
        """Run a model once; it is loaded first if necessary.

        Args:
            model_name: a registered model.
            data: numpy arrays, torch tensors, numbers, strings, and dicts (inputs by name),
                tuples (inputs in order) and lists of them.
            timeout: seconds, including waiting and loading; None for the daemon's default.
            priority: high, normal or low; None for the model's.
            keep_alive: how long the model stays loaded afterwards: seconds, ``5m``, "forever", or
                0 to unload it at once; None for the model's own.

        Returns:
            numpy arrays, numbers and strings, nested like the model's output.

        Raises:
            ModelNotFound: no model has this name.
            InvalidInput: the data is not a valid input of the model.
            InferenceError: the model raised an exception.
            DeadlineExceeded: the answer did not arrive within ``timeout``.
            InsufficientMemory: the model does not fit, even after other models are unloaded.
            LoadFailed: the model cannot be loaded.
            WorkerCrashed: its process ended before it answered.
            QueueFull: the queue has reached its limit.
        """
        return self._run(predict_request(model_name, timeout, priority, keep_alive), data)

    def stream(
        self,
        model_name: str,
        data: Any,
        timeout: float | None = None,
        *,
        priority: Priority | None = None,
        keep_alive: str | float | None = None,
    ) -> Generator[Any, None, None]:
        """Run a model once, and get its answer in parts as the model produces them.

        A model that does not stream gives one part. Leaving the loop, or closing the generator,
        cancels the request, and the model stops.

        Args:
            model_name: a registered model.
            data: the input, as for ``predict``.
            timeout: seconds until the last part; None for the daemon's default.
            priority: high, normal or low; None for the model's.
            keep_alive: how long the model stays loaded afterwards, as for ``predict``.

        Returns:
            A generator of the parts: pieces of one text, or separate results.

        Raises:
            SireError: from the generator: the errors of ``predict``, perhaps after some parts.
        """
        packed = pack_request(predict_request(model_name, timeout, priority, keep_alive), data)
        limit = reply_timeout(packed.request.timeout)
        with (
            self._connection() as connection,
            closing(connection.stream(packed.request, packed.frames, timeout=limit)) as replies,
        ):
            for reply, frames in replies:
                if frames:  # otherwise it is the end of an answer in parts
                    yield answer_from(reply, frames)

    def _run(self, request: Predict, data: Any) -> Any:
        packed = pack_request(request, data)
        with self._connection() as connection:
            limit = reply_timeout(request.timeout)
            reply, frames = connection.predict(packed.request, packed.frames, timeout=limit)
        return answer_from(reply, frames)

    def get_model_stats(self, name: str) -> dict[str, Any]:
        """Statistics of a model since the daemon started.

        Returns:
            Every field of ``ModelStats``, and under shorter names ``average_latency`` (seconds;
            None before the first answer) and ``memory_usage`` (bytes).

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            (stats,) = connection.expect(StatsReport, Stats(name=name)).models
        return msgspec.structs.asdict(stats) | {
            "average_latency": stats.average_latency_seconds,
            "memory_usage": stats.memory_bytes,
        }

    def health(self) -> HealthReport:
        """The state of the daemon, and what is wrong with it."""
        with self._connection() as connection:
            return connection.expect(HealthReport, Health())

    def list_models(self) -> list[ModelInfo]:
        """Every registered model, ordered by name."""
        with self._connection() as connection:
            return list(connection.expect(ModelList, ListModels()).models)

    def remove_model(self, name: str) -> None:
        """Unload a model and remove it from the registry; its file stays.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            connection.ask(Remove(name=name))

    def _check_here(self, what: str) -> None:
        """Raise AccessDenied if the daemon is that of another machine, where files are others."""
        if self._is_remote:
            raise AccessDenied(f"{what} on the machine that serves them, with its own sire.")

    @contextmanager
    def _connection(self) -> Iterator[DaemonClient]:
        """A connection for exclusive use, so that threads do not wait for each other."""
        with self._lock:
            if self._closed:
                raise DaemonUnavailable("This ModelManager is closed.", hint="Create another one.")
            connection = self._idle.pop() if self._idle else self._new_connection()
        try:
            yield connection
        finally:
            with self._lock:
                if not self._closed:
                    self._idle.append(connection)
            if self._closed:
                connection.close()


def _refer(model_class: type | str | None) -> ClassReference:
    if isinstance(model_class, type):
        return refer_to(model_class)
    return ClassReference(model_class or "")

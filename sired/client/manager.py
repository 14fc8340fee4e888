"""Models from Python: through the user's daemon, or through a private one."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import msgspec

from sired.client.autostart import start_daemon
from sired.client.classes import ClassReference, refer_to
from sired.client.connection import Connection
from sired.client.declare import describe_model, parse_keep_alive
from sired.client.job_calls import JobCalls, answer_from
from sired.client.lease import LeasedInstance
from sired.errors import DaemonUnavailable
from sired.paths import Paths, find_paths
from sired.protocol.content import TREE
from sired.protocol.replies import (
    InstanceInfo,
    Leased,
    ModelInfo,
    ModelList,
    PoolReport,
    StatsReport,
    Unloaded,
)
from sired.protocol.requests import (
    Acquire,
    ListModels,
    Load,
    PoolStats,
    Predict,
    Register,
    Release,
    Remove,
    Shrink,
    Stats,
    Unload,
)
from sired.spec import Priority, Signature, TensorSpec
from sired.tensors import pack

_EXIT_SECONDS = 15.0
# The daemon watches deadlines itself; the client only guards against one that hangs.
_GRACE_SECONDS = 5.0


class ModelManager(JobCalls):
    """Registers, loads and runs models; may be used from several threads at once.

    Args:
        embedded: run a private daemon, with a registry of its own, for the life of this object;
            otherwise talk to the user's daemon, and start it when none runs.
        home: what ``SIRE_HOME`` would say: the directory of the daemon to talk to, or of the
            private one, which without it gets a temporary directory.

    Raises:
        DaemonUnavailable: the private daemon could not be started. Without ``embedded`` the same
            is raised by the first call.
    """

    def __init__(self, embedded: bool = False, *, home: str | Path | None = None) -> None:
        self._idle: list[Connection] = []
        self._closed = False
        self._lock = threading.Lock()
        self._autostart = not embedded
        self._private: _PrivateDaemon | None = None
        if embedded:
            self._private = _PrivateDaemon(home)
            self._paths = self._private.paths
        else:
            self._paths = find_paths({"SIRE_HOME": str(home)} if home else None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections and end the private daemon, if there is one."""
        with self._lock:
            self._closed = True
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()
        if self._private is not None:
            self._private.end()

    def register_model(
        self,
        name: str,
        model_path: str | Path,
        runtime: str = "auto",
        *,
        model_class: type | str | None = None,
        device: str = "auto",
        max_memory: str | int | None = None,
        keep_alive: str | float | None = None,
        pin: bool = False,
        priority: Priority = "normal",
        weight: float = 1.0,
        instances: str | int = 1,
        batch_size: int = 1,
        batch_delay: str | float = 0,
        warmup: str | Path | None = None,
        trust: bool = False,
        cache: bool = False,
        replace: bool = False,
        inputs: Sequence[str | TensorSpec] = (),
        signature: Signature | None = None,
        mean: Sequence[float] = (),
        std: Sequence[float] = (),
        **args: Any,
    ) -> ModelInfo:
        """Make a model known under a name.

        Args:
            name: letters, digits, ``.``, ``_`` and ``-``.
            model_path: its file or directory.
            runtime: ``pytorch``, ``onnx``, …, or "auto" to tell from the file.
            model_class: for a state_dict: the class, or ``module:Class`` or ``file.py:Class``.
            device: a device name as ``sire devices`` lists them, or "auto".
            max_memory: what it needs at most: bytes, or text like ``2GiB``.
            keep_alive: how long it stays loaded unused: seconds, ``5m`` or "forever".
            pin: never unload it to make room for others.
            priority: the class of requests that ask for none: high, normal or low.
            weight: its share, against other models' weights, of a device they compete for.
            instances: how many processes hold it: a number, ``1..4``, or "auto" for as many as
                the queue wants and free memory has room for.
            batch_size: rows of requests that run together in one pass at most.
            batch_delay: how long a request waits for others to run with, such as ``5ms``.
            warmup: an input file to predict once after loading.
            trust: loading it may run code from the file.
            cache: answer an input it had before, byte for byte, from memory.
            replace: take the place of a model of this name.
            inputs: what it takes, like ``"float32[-1,1,8,8]"``.
            signature: inputs and outputs; goes before ``inputs``.
            mean: per channel, subtracted from image pixels scaled to 0..1.
            std: per channel, what they are divided by then.
            **args: arguments of the model's class or of the runtime.

        Returns:
            The model as the daemon recognised it.

        Raises:
            ModelExists: the name is taken, and ``replace`` is false.
            ModelNotFound: there is no such file.
            InvalidModel: the file, the class or an option cannot be what it is said to be.
        """
        reference = _refer(model_class)
        spec = describe_model(
            name,
            model_path,
            runtime,
            model_class=reference.name or None,
            python_path=reference.python_path,
            args=args,
            device=device,
            max_memory=max_memory,
            keep_alive=keep_alive,
            pin=pin,
            priority=priority,
            weight=weight,
            instances=instances,
            batch_size=batch_size,
            batch_delay=batch_delay,
            warmup=warmup,
            trust=trust,
            cache=cache,
            inputs=inputs,
            signature=signature,
            mean=mean,
            std=std,
        )
        version = f"{sys.version_info.major}.{sys.version_info.minor}" if reference.pickle else ""
        payload = [reference.pickle] if reference.pickle else []
        request = Register(model=spec, replace=replace, python_version=version)
        with self._connection() as connection:
            return connection.expect(ModelInfo, request, payload)

    def load_model(self, name: str, device: str = "auto") -> InstanceInfo:
        """Load a model now, on one device or on the one that suits best.

        Raises:
            ModelNotFound: no model has this name.
            DeviceNotFound: no device has that name.
            InsufficientMemory: it does not fit, whatever is unloaded.
            LoadFailed: and UntrustedModel, InvalidModel: it cannot be loaded.
        """
        with self._connection() as connection:
            return connection.expect(
                InstanceInfo, Load(name=name, device=None if device == "auto" else device)
            )

    def unload_model(self, name: str) -> int:
        """Unload every instance of a model; returns how many, once their memory is free.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            return connection.expect(Unloaded, Unload(name=name)).instances

    def predict(
        self,
        model_name: str,
        data: Any,
        timeout: float | None = None,
        *,
        priority: Priority | None = None,
        keep_alive: str | float | None = None,
    ) -> Any:
        """Run a model once; it is loaded first where it is not.

        Args:
            model_name: a registered model.
            data: numpy arrays, torch tensors, numbers, strings, and dicts (inputs by name),
                tuples (in order) and lists of them.
            timeout: seconds for everything, waiting and loading included.
            priority: high, normal or low; None for the model's.
            keep_alive: how long the model stays loaded afterwards: seconds, ``5m``, "forever", or
                0 to unload it at once; None for as long as it was registered with.

        Returns:
            numpy arrays, numbers and strings, nested the way the model's answer is.

        Raises:
            ModelNotFound: no model has this name.
            InvalidInput: the model does not take this data.
            InferenceError: the model raised.
            DeadlineExceeded: the answer did not come within ``timeout``.
            InsufficientMemory: and LoadFailed, WorkerCrashed, QueueFull: as they say.
        """
        request = Predict(
            model=model_name,
            timeout=timeout,
            priority=priority,
            keep_alive=parse_keep_alive(keep_alive),
        )
        return self._run(request, data)

    def _run(self, request: Predict, data: Any) -> Any:
        payload = pack(data)
        request = msgspec.structs.replace(
            request, content_type=payload.content_type, tensors=payload.tensors, accept=TREE
        )
        with self._connection() as connection:
            patience = _patience(request.timeout)
            reply, frames = connection.predict(request, payload.frames, timeout=patience)
        return answer_from(reply, frames)

    @contextmanager
    def acquire(
        self, name: str, timeout: float | None = None, *, destroy_after_use: bool = False
    ) -> Iterator[LeasedInstance]:
        """Have one instance of a model to oneself, for the length of a ``with`` block.

        Args:
            name: a registered model; it is loaded first where it is not.
            timeout: seconds to wait for an instance, loading included.
            destroy_after_use: end its process afterwards, instead of letting others use it.

        Raises:
            ModelNotFound: no model has this name.
            DeadlineExceeded: no instance was free within ``timeout``.
            InsufficientMemory: and LoadFailed: as they say.
        """
        request = Acquire(name=name, timeout=timeout, destroy_after_use=destroy_after_use)
        with self._connection() as connection:
            leased = connection.expect(Leased, request, timeout=_patience(timeout))

        def run(data: Any, seconds: float | None) -> Any:
            return self._run(Predict(model=name, timeout=seconds, lease=leased.lease), data)

        try:
            yield LeasedInstance(name, leased.instance, run)
        finally:
            # A daemon that is gone holds nothing any more.
            with suppress(DaemonUnavailable), self._connection() as connection:
                connection.ask(Release(lease=leased.lease))

    def pool_stats(self, name: str) -> dict[str, int]:
        """How many instances a model has.

        Returns:
            ``available`` (loaded and free for anybody), ``in_use`` (leased or at work), ``total``
            (loaded or loading) and ``max_instances``.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            report = connection.expect(PoolReport, PoolStats(name=name))
        return {
            "available": report.available,
            "in_use": report.in_use,
            "total": report.total,
            "max_instances": report.max_instances,
        }

    def shrink(self, name: str | None = None, keep: int | None = None) -> int:
        """End idle instances of a model, or of all models.

        Args:
            name: a registered model; None for all.
            keep: how many of each are to stay; None for the least number it was registered with.

        Returns:
            How many were ended, once their memory is free.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            return connection.expect(Unloaded, Shrink(name=name, keep=keep)).instances

    def cleanup(self) -> int:
        """Unload every model that is idle and not pinned; returns how many instances ended."""
        return self.shrink(keep=0)

    def get_model_stats(self, name: str) -> dict[str, Any]:
        """What was counted for a model since the daemon started.

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

    def list_models(self) -> list[ModelInfo]:
        """Every registered model, by name."""
        with self._connection() as connection:
            return list(connection.expect(ModelList, ListModels()).models)

    def remove_model(self, name: str) -> None:
        """Unload a model and forget it; its file stays.

        Raises:
            ModelNotFound: no model has this name.
        """
        with self._connection() as connection:
            connection.ask(Remove(name=name))

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        """A connection nobody else uses meanwhile: threads do not wait for each other."""
        with self._lock:
            if self._closed:
                raise DaemonUnavailable("This ModelManager is closed.", hint="Make another one.")
            connection = self._idle.pop() if self._idle else self._new_connection()
        try:
            yield connection
        finally:
            with self._lock:
                if not self._closed:
                    self._idle.append(connection)
            if self._closed:
                connection.close()

    def _new_connection(self) -> Connection:
        return Connection(self._paths, autostart=self._autostart)


class _PrivateDaemon:
    """A daemon that ends with its owner: by ``end``, at exit, or when the owner is killed."""

    def __init__(self, home: str | Path | None) -> None:
        # A Unix socket's path must be short: TMPDIR may be longer than /tmp, but rarely is.
        root = Path(home) if home else Path(tempfile.mkdtemp(prefix="sire-"))
        self.paths: Paths = find_paths({"SIRE_HOME": str(root)})
        temporary = None if home else root
        try:
            process = start_daemon(self.paths, arguments=["--die-with-parent"])
        except BaseException:
            _remove(temporary)
            raise
        self.end = weakref.finalize(self, _end_daemon, process, temporary, os.getpid())


def _end_daemon(process: "subprocess.Popen[bytes]", temporary: Path | None, owner: int) -> None:
    if os.getpid() != owner:
        return  # A forked child of the owner exits: the daemon is not its own.
    process.terminate()
    try:
        process.wait(_EXIT_SECONDS)
    except subprocess.TimeoutExpired:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _remove(temporary)


def _remove(directory: Path | None) -> None:
    if directory is not None:
        shutil.rmtree(directory, ignore_errors=True)


def _patience(timeout: float | None) -> float | None:
    """How long to wait for a reply to what the daemon is to do within ``timeout`` seconds."""
    return None if timeout is None else timeout + _GRACE_SECONDS


def _refer(model_class: type | str | None) -> ClassReference:
    if isinstance(model_class, type):
        return refer_to(model_class)
    return ClassReference(model_class or "")

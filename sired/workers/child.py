"""What runs inside a worker: load one model, then answer requests until the line closes."""

import contextlib
import gc
import logging
import socket
import time
from pathlib import Path
from typing import Any

from sired import codecs
from sired.errors import InferenceError, InsufficientMemory, LoadFailed, SireError
from sired.protocol.content import BY_SUFFIX, Buffer, Payload, sniff
from sired.runtimes.base import InferenceRuntime, is_out_of_memory
from sired.runtimes.discovery import find_runtime
from sired.runtimes.reading import Progress, read_ahead
from sired.spec import ModelSpec
from sired.workers.batch import Batches, Outcome
from sired.workers.channel import Channel
from sired.workers.files import files_to_read
from sired.workers.gpu_memory import GpuMeter, Share, measured_context
from sired.workers.memory import CpuMeter
from sired.workers.messages import (
    DeviceGrant,
    LoadModel,
    LoadProgress,
    ModelReady,
    RunBatch,
    RunModel,
    RunResult,
    StandBy,
    ToWorker,
    WorkerError,
)
from sired.workers.surroundings import (
    leave,
    name_process,
    open_context,
    print_to,
    settle_in,
    take_device,
)

log = logging.getLogger("sired.worker")


def main(line: socket.socket, log_path: str) -> None:
    """Serve one model over ``line``; everything printed goes to the log."""
    settle_in(line, log_path)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    channel: Channel[ToWorker] = Channel(line, ToWorker)
    # Anything else that goes wrong here is told in the log, and by the exit code.
    with contextlib.suppress(EOFError, ConnectionError):
        job, _ = channel.receive()
        context = 0
        if isinstance(job, StandBy):
            context = _stand_by(job.device)
            job, _ = channel.receive()
        assert isinstance(job, LoadModel)
        if job.log:
            print_to(job.log)
        worker = _load(job, channel, context)
        while worker is not None:
            message, frames = channel.receive()
            if isinstance(message, RunModel):
                worker.answer(message, frames)
            elif isinstance(message, RunBatch):
                worker.answer_together(message, frames)
    leave()


def _stand_by(device: DeviceGrant) -> int:
    """Be ready on a device; returns what that takes of its memory, where it is a GPU's."""
    take_device(device)
    name_process("sired:standby")
    if device.kind != "cuda":
        return 0
    return measured_context(device.uuid, Path(device.load_lock), open_context)


def _load(job: LoadModel, channel: Channel[ToWorker], context: int) -> "_Worker | None":
    """Load the model and say so, or say why not."""
    try:
        take_device(job.device)
        name_process(f"sired:{job.spec.name}")
        started = time.perf_counter()
        worker = _Worker(job, channel, context)
        seconds = time.perf_counter() - started
    except BaseException as problem:
        channel.send(_error(problem, None, LoadFailed, job.spec.name))
        return None
    gc.freeze()
    log.info("loaded %s in %.3f s, %d bytes", job.spec.name, seconds, worker.memory_bytes)
    channel.send(ModelReady(worker.memory_bytes, seconds, worker.reported))
    return worker


class _Worker:
    """A loaded model and what is needed to answer with it."""

    def __init__(self, job: LoadModel, channel: Channel[ToWorker], context: int) -> None:
        self._spec = job.spec
        self._channel = channel
        self._runtime = find_runtime(job.spec.runtime)
        self._meter = _meter(job.device, self._runtime, context)
        self._model = self._load(_arguments(job))
        self.reported = self._runtime.signature(self._model)
        self._signature = job.spec.signature.completed_by(self.reported)
        size = job.spec.batch_size if self._signature.batchable else 1
        self._batches = Batches(self._predict, size)
        self._meter.settle(self._runtime.get_memory_footprint(self._model))
        if job.spec.warmup:
            self._run(_file_payload(Path(job.spec.warmup)), "application/json")
        self.memory_bytes = self._meter.peak()

    def _load(self, arguments: dict[str, Any]) -> Any:
        """Have the runtime load the model, and its files read meanwhile."""
        self._runtime.progress = progress = Progress(self._tell_progress)
        by_itself = self._runtime.reads_by_itself(self._spec.path, **arguments)
        with read_ahead([] if by_itself else files_to_read(self._spec), progress):
            return self._runtime.load(self._spec.path, **arguments)

    def _tell_progress(self, done: int, total: int) -> None:
        # Who is behind with reading may miss one; that the daemon is gone, others notice.
        with contextlib.suppress(OSError):
            self._channel.try_send(LoadProgress(done, total))

    def _run(self, payload: Payload, accept: str) -> Payload:
        return codecs.encode(self._predict(self._decode(payload)), accept)

    def _decode(self, payload: Payload) -> Any:
        return codecs.decode(payload, self._signature, self._spec.image)

    def _predict(self, data: Any) -> Any:
        return self._runtime.predict(self._model, data)

    def answer(self, message: RunModel, frames: tuple[Buffer, ...]) -> None:
        """Run the model once and send what came of it."""
        started = time.perf_counter()
        payload = Payload(message.content_type, frames, message.tensors)
        try:
            answer = self._run(payload, message.accept)
        except BaseException as problem:
            self._fail(message, problem)
            return
        self._reply(message, answer, time.perf_counter() - started)

    def answer_together(self, message: RunBatch, frames: tuple[Buffer, ...]) -> None:
        """Run several requests, in one pass where they fit, and send what came of each."""
        runs, inputs, rest = [], [], frames
        for run, count in zip(message.runs, message.frames, strict=True):
            payload, rest = Payload(run.content_type, rest[:count], run.tensors), rest[count:]
            try:
                inputs.append(self._decode(payload))
                runs.append(run)
            except BaseException as problem:
                self._fail(run, problem)
        for place, outcome in self._batches.run(inputs):
            self._tell(runs[place], outcome)

    def _tell(self, run: RunModel, outcome: Outcome) -> None:
        if outcome.error is not None:
            self._fail(run, outcome.error)
            return
        try:
            answer = codecs.encode(outcome.answer, run.accept)
        except BaseException as problem:
            self._fail(run, problem)
            return
        self._reply(run, answer, outcome.seconds)

    def _reply(self, run: RunModel, answer: Payload, seconds: float) -> None:
        result = RunResult(
            run.request, answer.content_type, answer.tensors, seconds, self._meter.peak()
        )
        self._channel.send(result, answer.frames)

    def _fail(self, run: RunModel, problem: BaseException) -> None:
        error = _error(problem, run.request, InferenceError, self._spec.name, self._meter.peak())
        self._channel.send(error)


def _meter(device: DeviceGrant, runtime: InferenceRuntime, context: int) -> CpuMeter | GpuMeter:
    if device.kind != "cuda":
        return CpuMeter()
    return GpuMeter(Share(device.uuid, Path(device.load_lock), held=context), runtime)


def _arguments(job: LoadModel) -> dict[str, Any]:
    spec: ModelSpec = job.spec
    given = {
        "device": "cuda:0" if job.device.kind == "cuda" else "cpu",
        "format": spec.format,
        "model_class": spec.model_class,
        "python_path": spec.python_path,
        "trusted": spec.trusted,
        "weight_bytes": spec.weight_bytes,
    }
    return {**spec.args, **given}


def _file_payload(path: Path) -> Payload:
    content = path.read_bytes()
    content_type = BY_SUFFIX.get(path.suffix.lower()) or sniff(content[:16])
    return Payload(content_type or "application/octet-stream", (content,))


def _error(
    problem: BaseException,
    request: int | None,
    kind: type[SireError],
    model: str,
    peak: int = 0,
) -> WorkerError:
    """An exception as a message; what the model's own code raised goes to the log in full."""
    if isinstance(problem, SireError):
        return WorkerError(request, problem.code, problem.message, problem.hint, problem.details)
    log.error("%s", kind.__name__, exc_info=problem)
    said = " ".join(f"{type(problem).__name__}: {problem}".split())
    if is_out_of_memory(problem):
        return WorkerError(
            request,
            InsufficientMemory.code,
            f"{model} ran out of memory: {said}",
            out_of_memory=True,
            peak_memory_bytes=peak,
        )
    hint = f"See the whole traceback: sire logs {model}"
    return WorkerError(request, kind.code, f"{model}: {said}", hint, peak_memory_bytes=peak)

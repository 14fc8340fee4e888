"""A loaded model inside its worker: payloads in, payloads or errors out."""

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from sire.errors import (
    InferenceError,
    InsufficientMemory,
    InvalidInput,
    InvalidModel,
    LoadFailed,
    SireError,
    WorkerCrashed,
)
from sire.protocol.content import BY_SUFFIX, TEXT, Buffer, Payload, sniff
from sire.protocol.runs import RunModel, RunPart, RunResult, WorkerError
from sire.spec import ImageOptions, ModelSpec, Signature
from sire.transport.channel import Channel
from sired import codecs
from sired.runtimes.base import InferenceRuntime, ModelCacheDirectory, is_out_of_memory
from sired.runtimes.discovery import find_runtime
from sired.runtimes.reading import ReadProgress, read_ahead
from sired.workers.child.batching import Batches, BatchResult
from sired.workers.child.cpu_memory import CpuMeter
from sired.workers.child.gpu_memory import GpuLoadMeter, GpuMeter
from sired.workers.child.load_arguments import load_arguments
from sired.workers.child.model_files import content_digest, files_to_read, model_files
from sired.workers.child.program import ProgramMeter, end_with
from sired.workers.child.setup import before_leaving, leave
from sired.workers.child.tiers import Meter, change_tier
from sired.workers.child.warmup import warm_up
from sired.workers.messages import (
    ChangeTier,
    DeviceGrant,
    DramFreed,
    LoadModel,
    LoadProgress,
    Slept,
    ToWorker,
    Woke,
)

log = logging.getLogger("sired.worker")

# How much one measurement counts against all earlier ones.
_NEWS = 0.2

Reply = tuple[RunResult | WorkerError, tuple[Buffer, ...]]
StreamedReply = tuple[RunPart | RunResult | WorkerError, tuple[Buffer, ...]]


@dataclass(slots=True)
class WorkerRequest:
    """A request that is to be answered, and its frames until they are taken.

    ``decoded`` is there where that is done ahead; ``size`` is how many bytes came from a client
    that asked itself.
    """

    run: RunModel
    frames: tuple[Buffer, ...]
    decoded: "Future[Any] | None" = None
    size: int = 0

    def payload(self) -> Payload:
        """What came with it; to be asked once: nothing here holds on to its memory then."""
        frames, self.frames = self.frames, ()
        return Payload(self.run.content_type, frames, self.run.tensors)


class ServedModel:
    """A model and what is needed to answer with it.

    Args:
        job: what to load, and where.
        channel: to the daemon, which is told how far loading is.
        context: bytes of its GPU that this process held before.

    Attributes:
        reported: what its runtime says of its inputs and outputs.
        batch_size: how many requests run together at most.
        concurrency: how many threads may have it answer at the same time.
        out_of_process: whether it is computed in another process, so that threads only wait for it.
        memory_bytes: what the process holds on its device after loading.
        batch_delay: seconds a request may wait for others to run with.
        decode_seconds: what decoding takes lately.
        sleep_bytes: what would go to main memory if it slept; 0 if it cannot.

    Raises:
        SireError: and whatever else a runtime raises that cannot load it.
    """

    def __init__(self, job: LoadModel, channel: Channel[ToWorker], context: int) -> None:
        self._spec = job.spec
        self._largest_decoded = job.largest_decoded
        self._channel = channel
        self._runtime = find_runtime(job.spec.runtime)
        traits = self._runtime.traits
        if job.spec.concurrency > 1 and not traits.concurrent:
            raise InvalidModel(f"The runtime {job.spec.runtime} answers one request at a time.")
        self.concurrency = job.spec.concurrency
        self.out_of_process = traits.out_of_process
        self._runtime.declared = job.spec.signature
        files = model_files(job.spec)
        if job.cache:
            self._runtime.cache_directory = ModelCacheDirectory(
                Path(job.cache), content_digest(files)
            )
        before_leaving(self._runtime.unload)
        own = _meter(job.device, self._runtime, context)
        self._model = self._load(load_arguments(job.spec, job.device.kind), files)
        self.decode_seconds = 0.0
        self.reported = self._runtime.signature(self._model)
        self._signature = job.spec.signature.completed_by(self.reported)
        self.batch_size = job.spec.batch_size if self._signature.batchable else 1
        self.batch_delay = job.spec.batch_delay if self.batch_size > 1 else 0.0
        precision = self._runtime.precision_bytes(self._model)
        self._batches = Batches(self._predict, self.batch_size, precision)
        self._forwards = type(self._runtime).forward is not InferenceRuntime.forward
        self._meter: Meter = own
        processes = partial(self._runtime.processes, self._model)
        elsewhere = self._runtime.held_elsewhere(self._model)
        if there := processes():
            end_with(there[0])
        if there or elsewhere:
            self._meter = ProgramMeter(own, processes, elsewhere)
        self._meter.settle(self._runtime.get_memory_footprint(self._model))
        self._warm_up(job.spec)
        self.memory_bytes = self._meter.peak()
        self.sleep_bytes = 0
        if traits.sleeps and self._runtime.can_sleep(self._model):
            self.sleep_bytes = self._runtime.get_memory_footprint(self._model)

    def _load(self, arguments: dict[str, Any], files: Sequence[Path]) -> Any:
        """Have the runtime load the model, and its files read meanwhile."""
        self._runtime.progress = progress = ReadProgress(self._tell_progress)
        streams = self._runtime.traits.streams_files
        by_itself = streams and self._runtime.streams_files(self._spec.path, **arguments)
        with read_ahead([] if by_itself else files_to_read(files), progress):
            return self._runtime.load(self._spec.path, **arguments)

    def _warm_up(self, spec: ModelSpec) -> None:
        """Do what the first request would wait for, and see what the model gives."""
        self._runtime.warmup(self._model)
        if spec.warmup:
            self._run(_file_payload(Path(spec.warmup)), "application/json")
        elif self._signature.inputs and self._accepts_dummy_input():
            outputs = warm_up(self._predict, self._signature)
            self.reported = self.reported.completed_by(Signature((), outputs))

    def _accepts_dummy_input(self) -> bool:
        runtime = self._runtime
        return runtime.traits.accepts_dummy_input and runtime.accepts_dummy_input(self._model)

    def _tell_progress(self, done: int, total: int) -> None:
        # Who is behind with reading may miss one; that the daemon is gone, others notice.
        with contextlib.suppress(OSError):
            self._channel.try_send(LoadProgress(done, total))

    def change_tier(self, message: ChangeTier) -> Slept | Woke | DramFreed | WorkerError:
        """Go to sleep, wake up, or give main memory back; returns what came of it."""
        try:
            done = change_tier(message, self._runtime, self._model, self._meter)
        except BaseException as problem:
            return error_message(problem, None, LoadFailed, self._spec.name)
        log.info("%s: %s", self._spec.name, done)
        return done

    def share_cores(self, among: int) -> None:
        """Compute in this thread with one of so many parts of the cores from now on."""
        if self.concurrency > 1:
            self._runtime.share_cores(among)

    def peak(self) -> int:
        """The most bytes the process has held on its device so far."""
        return self._meter.peak()

    def answer(self, turn: WorkerRequest) -> Reply:
        """Run the model once."""
        started = time.perf_counter()
        try:
            answer = self._answer(turn)
        except BaseException as problem:
            return self._failure(turn.run, problem)
        return self._result(turn.run, answer, time.perf_counter() - started)

    def _answer(self, turn: WorkerRequest) -> Payload:
        if self._forwards:
            return self._run(turn.payload(), turn.run.accept)
        return codecs.encode(self._predict(self._input(turn)), turn.run.accept)

    def stream(self, turn: WorkerRequest, wanted: Callable[[], bool]) -> Iterator[StreamedReply]:
        """Run the model once; yields its answer's parts as they are made, and then its end.

        Args:
            turn: the request.
            wanted: whether to go on, asked after each part.
        """
        started, any_part = time.perf_counter(), False
        try:
            with contextlib.closing(self._parts(turn)) as parts:
                for part in parts:
                    any_part = True
                    yield RunPart(turn.run.request, part.content_type, part.tensors), part.frames
                    if not wanted():
                        break
        except BaseException as problem:
            failure, _ = self._failure(turn.run, problem)
            # To have it asked once more would give its beginning twice.
            again = failure.out_of_memory and not any_part
            yield msgspec.structs.replace(failure, out_of_memory=again), ()
        else:
            end = Payload(turn.run.accept, ())
            yield self._result(turn.run, end, time.perf_counter() - started)

    def _parts(self, turn: WorkerRequest) -> Generator[Payload, None, None]:
        payload, accept = turn.payload(), turn.run.accept
        if self._forwards:
            if self._signature.inputs:  # only to be held against it
                self._decode(payload)
            given = self._runtime.forward_stream(self._model, payload, accept)
            if given is not None:
                yield from given
                return
        with contextlib.closing(self._runtime.stream(self._model, self._decode(payload))) as made:
            for part in made:
                yield _part(part, accept)

    def answer_together(self, turns: Sequence[WorkerRequest]) -> Iterator[tuple[int, Reply]]:
        """Run several requests, in one pass where they fit; yields places and replies."""
        inputs, places = [], []
        for place, turn in enumerate(turns):
            try:
                inputs.append(self._input(turn))
                places.append(place)
            except BaseException as problem:
                yield place, self._failure(turn.run, problem)
        for number, outcome in self._batches.run(inputs):
            place = places[number]
            yield place, self._reply(turns[place].run, outcome)

    def _reply(self, run: RunModel, outcome: BatchResult) -> Reply:
        if outcome.error is not None:
            return self._failure(run, outcome.error)
        try:
            answer = codecs.encode(outcome.answer, run.accept)
        except BaseException as problem:
            return self._failure(run, problem)
        return self._result(run, answer, outcome.seconds)

    def decode(self, turn: WorkerRequest) -> Any:
        """What a request carries, as its model takes it; in another thread, if need be.

        Raises:
            InvalidInput: the model does not take it.
        """
        began = time.perf_counter()
        data = self._decode(turn.payload())
        if self.batch_size == 1:
            data = self._runtime.prepare(self._model, data)
        seconds = time.perf_counter() - began
        self.decode_seconds += _NEWS * (seconds - self.decode_seconds)
        return data

    def _input(self, turn: WorkerRequest) -> Any:
        ahead, turn.decoded = turn.decoded, None
        return self.decode(turn) if ahead is None else ahead.result()

    def _run(self, payload: Payload, accept: str) -> Payload:
        if self._forwards and (answer := self._forward(payload, accept)) is not None:
            return _as(accept, answer)
        return codecs.encode(self._predict(self._decode(payload)), accept)

    def _forward(self, payload: Payload, accept: str) -> Payload | None:
        if self._signature.inputs:  # only to be held against it
            self._decode(payload)
        return self._runtime.forward(self._model, payload, accept)

    def _decode(self, payload: Payload) -> Any:
        return codecs.decode(payload, self._signature, self._spec.image, self._largest_decoded)

    def _predict(self, data: Any) -> Any:
        return self._runtime.predict(self._model, data)

    def _result(self, run: RunModel, answer: Payload, seconds: float) -> Reply:
        result = RunResult(
            run.request, answer.content_type, answer.tensors, seconds, self._meter.peak()
        )
        return result, answer.frames

    def _failure(self, run: RunModel, problem: BaseException) -> tuple[WorkerError, tuple[()]]:
        if isinstance(problem, WorkerCrashed):  # what held the model is gone: so are we
            log.error("%s", problem)
            leave(1)
        peak = self._meter.peak()
        return error_message(problem, run.request, InferenceError, self._spec.name, peak), ()


def _part(part: Any, accept: str) -> Payload:
    """A part of an answer; of a text just its letters, for the next ones to follow."""
    if accept == TEXT and isinstance(part, str):
        return Payload(TEXT, (part.encode(errors="replace"),))
    return codecs.encode(part, accept)


def _as(accept: str, answer: Payload) -> Payload:
    """An answer in the content type that was asked for."""
    if answer.content_type == accept:
        return answer
    try:
        data = codecs.decode(answer, Signature(), ImageOptions())
    except InvalidInput as problem:
        said = problem.message.replace("The input", "The answer")
        raise InferenceError(f"The answer cannot be read: {said}") from None
    return codecs.encode(data, accept)


def _meter(device: DeviceGrant, runtime: InferenceRuntime, context: int) -> CpuMeter | GpuMeter:
    if device.kind != "cuda":
        return CpuMeter()
    return GpuMeter(GpuLoadMeter(device.uuid, Path(device.load_lock), held=context), runtime)


def _file_payload(path: Path) -> Payload:
    content = path.read_bytes()
    content_type = BY_SUFFIX.get(path.suffix.lower()) or sniff(content[:16])
    return Payload(content_type or "application/octet-stream", (content,))


def error_message(
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

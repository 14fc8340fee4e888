"""A loaded model in its worker: runs requests, and returns outputs or errors as messages."""

import contextlib
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from sire.errors import InferenceError, InvalidModel, LoadFailed, WorkerCrashed
from sire.protocol.content import Payload
from sire.protocol.runs import RunModel, RunPart, RunResult, WorkerError
from sire.spec import ModelSpec, Signature
from sire.transport.channel import Channel
from sired import codecs
from sired.runtimes.base import InferenceRuntime, ModelCacheDirectory
from sired.runtimes.discovery import find_runtime
from sired.runtimes.reading import ReadProgress, read_ahead
from sired.workers.child.batching import Batches, BatchResult
from sired.workers.child.cpu_memory import CpuMeter
from sired.workers.child.cuda_context import broken_context
from sired.workers.child.failures import error_message
from sired.workers.child.gpu_memory import GpuLoadMeter, GpuMeter
from sired.workers.child.held_files import HeldFiles
from sired.workers.child.load_arguments import load_arguments
from sired.workers.child.model_files import content_digest, files_to_read, model_files
from sired.workers.child.payloads import converted, file_payload, part_payload
from sired.workers.child.program import ProgramMeter, end_with
from sired.workers.child.requests import Reply, StreamedReply, WorkerRequest
from sired.workers.child.setup import at_exit, exit_process
from sired.workers.child.state_watch import StateWatch
from sired.workers.child.tiers import change_tier
from sired.workers.child.warmup import warm_up
from sired.workers.messages import (
    ChangeTier,
    DeviceGrant,
    DramFreed,
    LoadModel,
    LoadProgress,
    Slept,
    ToWorker,
    TrialFinding,
    Woke,
)

log = logging.getLogger("sired.worker")

# The weight of a new measurement in the moving average.
_SMOOTHING = 0.2


class ServedModel:
    """A loaded model with its runtime, meter and batching.

    Args:
        job: what to load, and where.
        channel: to the daemon, for the progress of loading.
        context: bytes that this process already held on its GPU.

    Attributes:
        reported: the signature that the runtime reports.
        batch_size: maximum number of requests of a batch.
        concurrency: number of threads that may run the model at the same time.
        out_of_process: whether another process computes, so that threads only wait for it.
        memory_bytes: that the process holds on its device after loading.
        batch_delay: seconds that a request may wait for a batch.
        decode_seconds: moving average of the time to decode an input.
        sleep_bytes: main memory that the weights occupy during sleep; 0 if it cannot sleep.
        url: where a program serves the model over HTTP; "" if none does.

    Raises:
        SireError: the model cannot be loaded.
        Exception: any other error of the runtime.
    """

    def __init__(self, job: LoadModel, channel: Channel[ToWorker], context: int) -> None:
        self._spec = job.spec
        self._largest_decoded = job.largest_decoded
        self._on_gpu = job.device.kind == "cuda"
        self._channel = channel
        files = model_files(job.spec)
        self._runtime = _prepared_runtime(job, files)
        traits = self._runtime.traits
        self.concurrency = job.spec.concurrency
        self.out_of_process = traits.out_of_process
        own = _meter(job.device, self._runtime, context, self._report_waiting)
        # Classes of the user's may write to their files.
        read_only = [Path(state.path) for state in job.files] or files if traits.formats else []
        held = HeldFiles()
        with held.loading(read_only, job.files if read_only else ()):
            self._model = self._load(load_arguments(job.spec, job.device.kind), files)
        self.decode_seconds = 0.0
        self.reported = self._runtime.signature(self._model)
        self.url = self._runtime.url(self._model)
        self._signature = job.spec.signature.completed_by(self.reported)
        batchable = self._signature.batchable and not job.spec.alone
        self.batch_size = job.spec.batch_size if batchable else 1
        self.batch_delay = job.spec.batch_delay if self.batch_size > 1 else 0.0
        precision = self._runtime.precision_bytes(self._model)
        self._batches = Batches(self._predict, self.batch_size, precision)
        self._watch = StateWatch(self._runtime, self._model)
        self._forwards = type(self._runtime).forward is not InferenceRuntime.forward
        self._meter = self._meter_of_program(own, held, files) or own
        self._meter.settle(self._runtime.get_memory_footprint(self._model))
        self._warm_up(job.spec)
        self.memory_bytes = self._meter.peak()
        self.sleep_bytes = 0
        if traits.sleeps and self._runtime.can_sleep(self._model):
            self.sleep_bytes = self._runtime.get_memory_footprint(self._model)

    def _load(self, arguments: dict[str, Any], files: Sequence[Path]) -> Any:
        """Have the runtime load the model while its files are read ahead."""
        self._runtime.progress = progress = ReadProgress(self._report_progress)
        streams = self._runtime.traits.streams_files
        by_itself = streams and self._runtime.streams_files(self._spec.path, **arguments)
        with read_ahead([] if by_itself else files_to_read(files), progress):
            return self._runtime.load(self._spec.path, **arguments)

    def _meter_of_program(
        self, own: CpuMeter | GpuMeter, held: HeldFiles, files: Sequence[Path]
    ) -> ProgramMeter | None:
        """The meter of a model that other processes hold, which end with this one; else None."""
        processes = partial(self._runtime.processes, self._model)
        external = self._runtime.held_elsewhere(self._model)
        if pids := processes():
            end_with(pids[0])
            held.hold_for(pids, files)
        return ProgramMeter(own, processes, external) if pids or external else None

    def _warm_up(self, spec: ModelSpec) -> None:
        """Do the work that would delay the first request, and determine the outputs."""
        self._runtime.warmup(self._model)
        if spec.warmup:
            self._run(file_payload(Path(spec.warmup)), "application/json")
            return  # what the user asked for is measured like any request
        if self._signature.inputs and self._accepts_dummy_input():
            outputs = warm_up(self._predict, self._signature)
            self.reported = self.reported.completed_by(Signature((), outputs))
        self._meter.forget_peak()

    def _accepts_dummy_input(self) -> bool:
        runtime = self._runtime
        return runtime.traits.accepts_dummy_input and runtime.accepts_dummy_input(self._model)

    def _report_progress(self, done: int, total: int) -> None:
        # A report is skipped if the daemon is slow to read; its end is detected elsewhere.
        with contextlib.suppress(OSError):
            self._channel.try_send(LoadProgress(done, total))

    def _report_waiting(self) -> None:
        """Report that this load waits for another one, and does not hang."""
        self._report_progress(0, 0)

    def change_tier(self, message: ChangeTier) -> Slept | Woke | DramFreed | WorkerError:
        """Suspend or wake the model, or release main memory; returns the reply."""
        try:
            done = change_tier(message, self._runtime, self._model, self._meter)
        except BaseException as problem:
            return error_message(problem, None, LoadFailed, self._spec.name)
        self._watch.forget()
        log.info("%s: %s", self._spec.name, done)
        return done

    def share_cores(self, among: int) -> None:
        """Limit this thread's computation to one of ``among`` equal shares of the cores."""
        if self.concurrency > 1:
            self._runtime.share_cores(among)

    def peak(self) -> int:
        """Peak of the bytes that the process has held on its device."""
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
        """Run the model once; yields the parts of its output, and then the final message.

        Args:
            turn: the request.
            wanted: returns whether to continue; called after each part.
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
            # A retry after the first part would send the beginning twice.
            retry = failure.out_of_memory and not any_part
            yield msgspec.structs.replace(failure, out_of_memory=retry), ()
        else:
            end = Payload(turn.run.accept, ())
            yield self._result(turn.run, end, time.perf_counter() - started)

    def _parts(self, turn: WorkerRequest) -> Generator[Payload, None, None]:
        payload, accept = turn.payload(), turn.run.accept
        if self._forwards:
            if self._signature.inputs:  # only to check the input
                self._decode(payload)
            given = self._runtime.forward_stream(self._model, payload, accept)
            if given is not None:
                yield from given
                return
        with contextlib.closing(self._runtime.stream(self._model, self._decode(payload))) as made:
            for part in made:
                yield part_payload(part, accept)

    def answer_together(self, turns: Sequence[WorkerRequest]) -> Iterator[tuple[int, Reply]]:
        """Run several requests, in batches if possible; yields indices and replies."""
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

    def finding(self) -> TrialFinding | None:
        """What has been found out since the last call; None if nothing was."""
        note, alone = self._watch.take_note(), ""
        if self._batches.alone and self.batch_size > 1:
            self.batch_size, self.batch_delay = 1, 0.0
            alone = self._batches.alone
        return TrialFinding(alone, note) if alone or note else None

    def _reply(self, run: RunModel, outcome: BatchResult) -> Reply:
        if outcome.error is not None:
            return self._failure(run, outcome.error)
        try:
            answer = codecs.encode(outcome.answer, run.accept)
        except BaseException as problem:
            return self._failure(run, problem)
        return self._result(run, answer, outcome.seconds)

    def decode(self, turn: WorkerRequest) -> Any:
        """The decoded input of a request; may be called in another thread.

        Raises:
            InvalidInput: the input does not match the model's signature.
        """
        began = time.perf_counter()
        data = self._decode(turn.payload())
        if self.batch_size == 1:
            data = self._runtime.prepare(self._model, data)
        seconds = time.perf_counter() - began
        self.decode_seconds += _SMOOTHING * (seconds - self.decode_seconds)
        return data

    def _input(self, turn: WorkerRequest) -> Any:
        ahead, turn.decoded = turn.decoded, None
        return self.decode(turn) if ahead is None else ahead.result()

    def _run(self, payload: Payload, accept: str) -> Payload:
        if self._forwards and (answer := self._forward(payload, accept)) is not None:
            return converted(answer, accept)
        return codecs.encode(self._predict(self._decode(payload)), accept)

    def _forward(self, payload: Payload, accept: str) -> Payload | None:
        if self._signature.inputs:  # only to check the input
            self._decode(payload)
        return self._runtime.forward(self._model, payload, accept)

    def _decode(self, payload: Payload) -> Any:
        spec = self._spec
        return codecs.decode(
            payload, self._signature, spec.image, self._largest_decoded, spec.audio
        )

    def _predict(self, data: Any) -> Any:
        answer = self._runtime.predict(self._model, data)
        if self._watch.active:
            self._watch.after_pass()
        return answer

    def _result(self, run: RunModel, answer: Payload, seconds: float) -> Reply:
        result = RunResult(
            run.request, answer.content_type, answer.tensors, seconds, self._meter.peak()
        )
        return result, answer.frames

    def _failure(self, run: RunModel, problem: BaseException) -> tuple[WorkerError, tuple[()]]:
        if isinstance(problem, WorkerCrashed):  # the process that held the model has ended
            log.error("%s", problem)
            exit_process(1)
        if self._on_gpu and (reason := broken_context()):
            log.error("the CUDA context is lost (%s), and this process with it", reason)
            log.error("it was lost by request %s, or one before it", run.request, exc_info=problem)
            exit_process(1)
        peak = self._meter.peak()
        return error_message(problem, run.request, InferenceError, self._spec.name, peak), ()


def _prepared_runtime(job: LoadModel, files: Sequence[Path]) -> InferenceRuntime:
    """The runtime of a model, knowing what holds for this load; ends with the process."""
    spec, runtime = job.spec, find_runtime(job.spec.runtime)
    if spec.concurrency > 1 and not runtime.traits.concurrent:
        raise InvalidModel(f"The runtime {spec.runtime} runs one request at a time.")
    runtime.declared = spec.signature
    runtime.memory_limit = spec.max_memory if job.device.kind == "cuda" else None
    if job.cache:
        runtime.cache_directory = ModelCacheDirectory(Path(job.cache), content_digest(files))
    at_exit(runtime.unload)
    return runtime


def _meter(
    device: DeviceGrant, runtime: InferenceRuntime, context: int, waiting: Callable[[], None]
) -> CpuMeter | GpuMeter:
    if device.kind != "cuda":
        return CpuMeter()
    lock = Path(device.load_lock)
    return GpuMeter(GpuLoadMeter(device.uuid, lock, held=context, waiting=waiting), runtime)

"""Predictions on their way: from the client to a worker, and the answer back, or from memory."""

import asyncio
from collections.abc import Callable
from itertools import chain

from sire.protocol.content import Buffer, size_of
from sire.protocol.replies import Part, Prediction
from sire.protocol.requests import Predict
from sire.protocol.runs import RunModel, RunPart, RunResult
from sired.daemon.engine import batch_keys
from sired.daemon.engine.instances import Instances
from sired.daemon.engine.pending import PendingPrediction
from sired.daemon.engine.replies import ReplySink
from sired.daemon.engine.result_cache import CachedAnswer, CacheKey, ResultCache
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.scheduler.brain import Brain
from sired.scheduler.events import RequestFinished
from sired.scheduler.instructions import Dispatch
from sired.server.front import Client
from sired.workers.messages import RunBatch, StopStream


class Predictions:
    """Those that have no answer yet.

    Attributes:
        results: the answers kept for models that are cached.
        begun: called with who asked for a prediction when a worker begins to work on it.
        waiting: what waits, by the number that the brain knows it by.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        front: ReplySink,
        supervisor: WorkerSupervisor,
        instances: Instances,
        statistics: AllCounters,
    ) -> None:
        self.results = ResultCache()
        self.begun: Callable[[Client], None] = lambda _: None
        self.waiting: dict[int, PendingPrediction] = {}
        self._loop = loop
        self._brain = brain
        self._front = front
        self._crew = supervisor
        self._instances = instances
        self._statistics = statistics
        # Answers that are being made in parts, and by which instance.
        self._streams: dict[int, int] = {}

    # From the client

    def from_memory(
        self, client: Client, request: Predict, payload: tuple[Buffer, ...]
    ) -> tuple[CacheKey | None, bool]:
        """Answer from memory if that is allowed and possible.

        Returns:
            Where the answer is to be kept, if it is; and whether the client has been answered.
        """
        # Who has leased an instance wants that one to work, and parts are not kept.
        alone = request.lease or request.stream
        question = None if alone else self.results.question(request, payload)
        if question is None:
            return None, False
        return question, self._answered_before(client, question)

    def _answered_before(self, client: Client, question: CacheKey) -> bool:
        """Answer from the cache, which wants no worker and no place in a queue, if it can."""
        counters = self._statistics.of(question.generation.model)
        answer = self.results.find(question)
        if answer is None:
            counters.cache_misses += 1
            return False
        counters.cache_hits += 1
        reply = Prediction(
            id=client.request_id,
            content_type=answer.content_type,
            tensors=answer.tensors,
            cached=True,
        )
        self._front.reply(client, reply, answer.frames)
        return True

    def fit(self, request: Predict) -> tuple[str | None, int]:
        """What the brain is told of which requests may run together."""
        model = self._brain.models.get(request.model)
        if model is None or model.batch_size == 1 or request.stream:
            return None, 1
        return batch_keys.fit(request, self._instances.signature_of(request.model))

    # To the worker

    def dispatch(self, do: Dispatch) -> None:
        """Send requests to the worker that is to work on them."""
        runs = tuple(map(self._run, do.requests))
        for run in runs:
            if run.stream:
                self._streams[run.request] = do.instance
        payloads = [self.waiting[request].payload for request in do.requests]
        model = self._brain.fleet.instances[do.instance].model.name
        self._statistics.of(model).batches[len(runs)] += 1
        if len(runs) == 1:
            self._crew.send(do.instance, runs[0], payloads[0])
        else:
            together = RunBatch(runs, tuple(map(len, payloads)))
            self._crew.send(do.instance, together, tuple(chain.from_iterable(payloads)))
        self.begin_next(do.instance)

    def _run(self, request: int) -> RunModel:
        predict = self.waiting[request].predict
        return RunModel(
            request, predict.content_type, predict.tensors, predict.accept, stream=predict.stream
        )

    def begin_next(self, instance: int) -> None:
        """Tell whose request a worker is at; those behind it are only at hand."""
        worker = self._brain.fleet.instances.get(instance)
        for request in worker.running if worker is not None else ():
            waiting = self.waiting.get(request.id)
            if waiting is not None:
                self.begun(waiting.client)

    # Back

    def pass_on(self, part: RunPart, payload: tuple[Buffer, ...]) -> None:
        """Give a client a part of its answer; nobody hears of those of who has gone."""
        if (waiting := self.waiting.get(part.request)) is not None:
            reply = Part(
                id=waiting.client.request_id, content_type=part.content_type, tensors=part.tensors
            )
            self._front.reply(waiting.client, reply, payload)

    def answered(
        self, instance: int, result: RunResult, payload: tuple[Buffer, ...]
    ) -> tuple[Client | None, RequestFinished]:
        """Give a client its answer; returns who that was, unless he has gone, and the event."""
        waiting = self.waiting.pop(result.request, None)
        self._streams.pop(result.request, None)
        if waiting is not None:  # else it was cancelled or came too late
            self._give(waiting, instance, result, payload)
        finished = RequestFinished(
            instance, result.request, result.peak_memory_bytes, seconds=result.compute_seconds
        )
        return waiting.client if waiting is not None else None, finished

    def _give(
        self,
        waiting: PendingPrediction,
        instance: int,
        result: RunResult,
        payload: tuple[Buffer, ...],
    ) -> None:
        now = self._loop.time()
        latency = now - waiting.arrived
        wait = max(0.0, latency - result.compute_seconds)
        reply = Prediction(
            id=waiting.client.request_id,
            content_type=result.content_type,
            tensors=result.tensors,
            compute_seconds=result.compute_seconds,
            queue_seconds=wait,
        )
        self._front.reply(waiting.client, reply, payload)
        counters = self._statistics.of(waiting.predict.model)
        device = self._brain.fleet.instances[instance].device
        counters.answered(latency, result.compute_seconds, wait, device, now)
        counters.bytes_in += size_of(waiting.payload)
        counters.bytes_out += size_of(payload)
        if waiting.question is not None:
            answer = CachedAnswer(result.content_type, result.tensors, payload)
            self.results.keep(waiting.question, answer)

    def forget(self, request: int) -> PendingPrediction | None:
        """Nobody waits any more: have its worker stop if it answers in parts."""
        if (instance := self._streams.pop(request, None)) is not None:
            self._crew.send(instance, StopStream(request), ())
        return self.waiting.pop(request, None)

    def worker_gone(self, instance: int) -> None:
        """A worker has ended: what it was making in parts, nobody need stop."""
        self._streams = {run: at for run, at in self._streams.items() if at != instance}

"""Predictions: from the client to a worker and back, or answered from the result cache."""

import asyncio
from collections.abc import Callable
from itertools import chain

from sire.protocol.content import Buffer, size_of
from sire.protocol.replies import Part, Prediction
from sire.protocol.requests import Predict
from sire.protocol.runs import RunModel, RunPart, RunResult
from sire.spec import keep_alive_seconds
from sired.daemon.engine import batch_keys
from sired.daemon.engine.instances import Instances
from sired.daemon.engine.operations import Operations, PendingPrediction, ReplySink
from sired.daemon.engine.result_cache import CachedAnswer, CacheKey, ResultCache
from sired.daemon.supervisor.supervisor import WorkerSupervisor
from sired.daemon.telemetry.counters import AllCounters
from sired.scheduler.brain import Brain
from sired.scheduler.events import Event, RequestArrived, RequestFinished
from sired.scheduler.instructions import Dispatch
from sired.server.front import Client
from sired.workers.messages import RunBatch, StopRun

# Bytes. The number of waiting requests limits smaller inputs well enough, and large inputs of one
# client must not keep the small requests of others out.
_SMALL = 64 * 1024


def counted_bytes(payload: tuple[Buffer, ...]) -> int:
    """The bytes of an input that count towards the limit on the inputs of unanswered requests."""
    size = size_of(payload)
    return size if size > _SMALL else 0


class Predictions:
    """Takes predictions through the daemon.

    Args:
        loop: the event loop.
        brain: knows models and instances.
        operations: where predictions wait for their answers.
        supervisor: passes messages to workers.
        instances: knows the models' signatures.
        counters: counts answers.
        results: the cached answers of models registered with ``--cache``.
        feed: passes an event to the brain.

    Attributes:
        owner_of: names the process behind a connection, which shares ``queue.memory`` with others.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        brain: Brain,
        operations: Operations,
        supervisor: WorkerSupervisor,
        instances: Instances,
        counters: AllCounters,
        results: ResultCache,
        feed: Callable[[Event], None],
    ) -> None:
        self._loop = loop
        self._brain = brain
        self._operations = operations
        self._supervisor = supervisor
        self._instances = instances
        self._counters = counters
        self._results = results
        self._feed = feed
        self.owner_of: Callable[[bytes], str] = bytes.hex
        # The instance that works on each dispatched request.
        self._running: dict[int, int] = {}

    # From the client

    def predict(
        self,
        client: Client,
        request: Predict,
        payload: tuple[Buffer, ...],
        timeout: float,
        sink: ReplySink,
    ) -> None:
        """Begin a prediction, or answer it from the cache.

        Args:
            client: where the answer goes.
            request: the request.
            payload: the input's frames.
            timeout: seconds it may take.
            sink: takes the answer.
        """
        # The holder of a lease wants its own instance to run, and parts are not cached.
        alone = request.lease or request.stream
        key = None if alone else self._results.key(request, payload)
        if key is not None and self._answer_from_cache(client, key, sink):
            return
        now = self._loop.time()
        pending = PendingPrediction(client, sink, request, payload, now, key)
        number = self._operations.add(pending)
        batch_key, rows = self._batch_key(request)
        size = counted_bytes(payload)
        self._feed(
            RequestArrived(
                number,
                request.model,
                now + timeout,
                request.priority,
                request.lease,
                batch_key,
                rows,
                keep_alive=keep_alive_seconds(request.keep_alive),
                size=size,
                client=self.owner_of(client.connection) if size else "",
            )
        )

    def _answer_from_cache(self, client: Client, key: CacheKey, sink: ReplySink) -> bool:
        """Answer from the cache, without a worker and a place in a queue, if possible."""
        counters = self._counters.of(key.generation.model)
        answer = self._results.find(key)
        if answer is None:
            counters.cache_misses += 1
            return False
        counters.cache_hits += 1
        reply = Prediction(
            id=client.request_id,
            content_type=answer.content_type,
            tensors=answer.tensors,
            cached=True,
            model=key.generation.model,
        )
        sink.reply(client, reply, answer.frames)
        return True

    def _batch_key(self, request: Predict) -> tuple[str | None, int]:
        """Which requests this one can run with, as the brain needs it, and its rows."""
        model = self._brain.models.get(request.model)
        if model is None or model.batch_size == 1 or request.stream:
            return None, 1
        return batch_keys.fit(request, self._instances.signature_of(request.model))

    # To the worker

    def dispatch(self, do: Dispatch) -> None:
        """Send requests to the worker of an instance."""
        pending = [self._pending(number) for number in do.requests]
        runs = tuple(map(self._run, do.requests, pending))
        for number in do.requests:
            self._running[number] = do.instance
        self._counters.of(pending[0].model).batches[len(runs)] += 1
        if len(runs) == 1:
            self._supervisor.send(do.instance, runs[0], pending[0].payload)
        else:
            payloads = [one.payload for one in pending]
            together = RunBatch(runs, tuple(map(len, payloads)))
            self._supervisor.send(do.instance, together, tuple(chain.from_iterable(payloads)))
        self.report_started(do.instance)

    def _pending(self, number: int) -> PendingPrediction:
        pending = self._operations.prediction(number)
        assert pending is not None, "the brain dispatches what has not been answered"
        return pending

    def _run(self, number: int, pending: PendingPrediction) -> RunModel:
        predict = pending.predict
        return RunModel(
            number, predict.content_type, predict.tensors, predict.accept, stream=predict.stream
        )

    def report_started(self, instance: int) -> None:
        """Report which predictions a worker works on; others only wait in its queue."""
        worker = self._brain.fleet.instances.get(instance)
        for request in worker.running if worker is not None else ():
            if (pending := self._operations.prediction(request.id)) is not None:
                pending.sink.started(pending.client)

    # Back

    def pass_part(self, part: RunPart, payload: tuple[Buffer, ...]) -> None:
        """Pass on a part of an answer, unless it was withdrawn."""
        if (pending := self._operations.prediction(part.request)) is not None:
            client = pending.client
            reply = Part(id=client.request_id, content_type=part.content_type, tensors=part.tensors)
            pending.sink.reply(client, reply, payload)

    def answered(
        self, instance: int, result: RunResult, payload: tuple[Buffer, ...]
    ) -> RequestFinished:
        """Pass on an answer, unless it was withdrawn; returns the event for the brain."""
        pending = self._operations.pop(result.request)
        self.ended(result.request)
        if isinstance(pending, PendingPrediction):
            self._give(pending, instance, result, payload)
        return RequestFinished(
            instance, result.request, result.peak_memory_bytes, seconds=result.compute_seconds
        )

    def _give(
        self,
        pending: PendingPrediction,
        instance: int,
        result: RunResult,
        payload: tuple[Buffer, ...],
    ) -> None:
        now = self._loop.time()
        latency = now - pending.arrived
        wait = max(0.0, latency - result.compute_seconds)
        reply = Prediction(
            id=pending.client.request_id,
            content_type=result.content_type,
            tensors=result.tensors,
            compute_seconds=result.compute_seconds,
            queue_seconds=wait,
            model=pending.model,
        )
        pending.sink.reply(pending.client, reply, payload)
        counters = self._counters.of(pending.model)
        device = self._brain.fleet.instances[instance].device
        counters.answered(latency, result.compute_seconds, wait, device, now)
        counters.bytes_in += size_of(pending.payload)
        counters.bytes_out += size_of(payload)
        if pending.cache_key is not None:
            answer = CachedAnswer(result.content_type, result.tensors, payload)
            self._results.keep(pending.cache_key, answer)

    def ended(self, number: int) -> None:
        """Record that a worker has replied to a request, with an answer or an error."""
        self._running.pop(number, None)

    def stop(self, number: int) -> None:
        """Tell the worker, if any, that the answer to a request is not wanted any more."""
        if (instance := self._running.pop(number, None)) is not None:
            self._supervisor.send(instance, StopRun(number), ())

    def worker_gone(self, instance: int) -> None:
        """Forget the requests of a worker that has ended."""
        self._running = {run: at for run, at in self._running.items() if at != instance}

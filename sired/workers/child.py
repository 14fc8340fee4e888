"""What runs inside a worker: load one model, then answer requests until the line closes."""

import contextlib
import gc
import logging
import socket
import time

from sired.errors import LoadFailed
from sired.transport.channel import Channel
from sired.transport.wakefulness import Wakefulness
from sired.workers.messages import LoadModel, ModelReady, ToWorker
from sired.workers.model import ServedModel, error_message
from sired.workers.service import SHORT_WAIT_SECONDS, Service
from sired.workers.surroundings import leave, name_process, settle_in, take_device

log = logging.getLogger("sired.worker")


def main(line: socket.socket, log_path: str) -> None:
    """Serve one model over ``line``; everything printed goes to the log."""
    settle_in(line, log_path)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    channel: Channel[ToWorker] = Channel(
        line, ToWorker, wakefulness=Wakefulness(SHORT_WAIT_SECONDS)
    )
    # Anything else that goes wrong here is told in the log, and by the exit code.
    with contextlib.suppress(EOFError, ConnectionError):
        job, _ = channel.receive()
        assert isinstance(job, LoadModel)
        model = _load(job, channel)
        if model is not None:
            Service(channel, model).run()
    leave()


def _load(job: LoadModel, channel: Channel[ToWorker]) -> ServedModel | None:
    """Load the model and say so, or say why not."""
    try:
        take_device(job.device)
        name_process(f"sired:{job.spec.name}")
        started = time.perf_counter()
        model = ServedModel(job)
        seconds = time.perf_counter() - started
    except BaseException as problem:
        channel.send(error_message(problem, None, LoadFailed, job.spec.name))
        return None
    gc.freeze()
    log.info("loaded %s in %.3f s, %d bytes", job.spec.name, seconds, model.memory_bytes)
    channel.send(ModelReady(model.memory_bytes, seconds, model.reported, model.sleep_bytes))
    return model

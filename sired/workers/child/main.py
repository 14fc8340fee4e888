"""The main function of a worker: load one model, then serve until the connection closes."""

import contextlib
import gc
import logging
import socket
import time
from pathlib import Path

import msgspec

from sire.errors import LoadFailed
from sire.transport.busy_polling import BusyPolling
from sire.transport.channel import Channel
from sired.workers.child.cuda_context import unusable_gpu
from sired.workers.child.estimate import estimate
from sired.workers.child.failures import error_message
from sired.workers.child.gpu_memory import measured_context
from sired.workers.child.served_model import ServedModel
from sired.workers.child.service import SHORT_WAIT_SECONDS, Service
from sired.workers.child.setup import (
    exit_process,
    open_context,
    redirect_output,
    set_up,
    take_device,
)
from sired.workers.confinement import Confinement, bound_memory
from sired.workers.control_groups import join
from sired.workers.messages import (
    DeviceGrant,
    EstimateModel,
    LoadModel,
    ModelReady,
    StandBy,
    ToWorker,
)
from sired.workers.process_name import name_process

log = logging.getLogger("sired.worker")


def main(connection: socket.socket, log_path: str, confinement: Confinement) -> None:
    """Serve one model over ``connection``; all output goes to the log."""
    set_up(connection, log_path, confinement)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    channel: Channel[ToWorker] = Channel(
        connection, ToWorker, busy_polling=BusyPolling(SHORT_WAIT_SECONDS)
    )
    # Other exceptions are reported in the log and by the exit code.
    with contextlib.suppress(EOFError, ConnectionError):
        job, _ = channel.receive()
        context = 0
        if isinstance(job, StandBy):
            context = _stand_by(job.device)
            job, _ = channel.receive()
        if isinstance(job, EstimateModel):
            channel.send(estimate(job.spec))
            exit_process()
        assert isinstance(job, LoadModel)
        if job.log:
            redirect_output(job.log)
        if job.group:
            join(job.group)
        if confinement.limits and job.memory_bound:
            bound_memory(job.memory_bound)
        model = _load(job, channel, context)
        if model is not None:
            Service(channel, model).run()
    exit_process()


def _stand_by(device: DeviceGrant) -> int:
    """Prepare a device; returns the bytes that the CUDA context takes on a GPU, else 0."""
    take_device(device)
    name_process("sired:standby")
    if device.kind != "cuda":
        return 0
    return measured_context(device.uuid, Path(device.load_lock), open_context)


def _load(job: LoadModel, channel: Channel[ToWorker], context: int) -> ServedModel | None:
    """Load the model and report it, or report the error; returns None on an error."""
    try:
        take_device(job.device)
        name_process(f"sired:{job.spec.name}")
        started = time.perf_counter()
        model = ServedModel(job, channel, context)
        seconds = time.perf_counter() - started
    except BaseException as problem:
        error = error_message(problem, None, LoadFailed, job.spec.name)
        if job.device.kind == "cuda" and not error.out_of_memory:
            error = msgspec.structs.replace(error, device_failure=unusable_gpu())
        channel.send(error)
        return None
    gc.freeze()
    log.info("loaded %s in %.3f s, %d bytes", job.spec.name, seconds, model.memory_bytes)
    channel.send(
        ModelReady(model.memory_bytes, seconds, model.reported, model.sleep_bytes, model.url)
    )
    return model

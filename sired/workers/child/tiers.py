"""Suspends and wakes a model inside its worker, and measures it."""

import time
from typing import Any

from sired.runtimes.base import InferenceRuntime
from sired.workers.child.cpu_memory import CpuMeter
from sired.workers.child.gpu_memory import GpuMeter
from sired.workers.child.program import ProgramMeter
from sired.workers.messages import ChangeTier, DramFreed, Sleep, Slept, Wake, Woke

Meter = CpuMeter | GpuMeter | ProgramMeter


def change_tier(
    message: ChangeTier, runtime: InferenceRuntime, model: Any, meter: Meter
) -> Slept | Woke | DramFreed:
    """Move a model between memory tiers as the message requests; returns the reply.

    Raises:
        Exception: any error of the runtime, including out-of-memory errors.
    """
    began = time.perf_counter()
    if isinstance(message, Sleep):
        runtime.sleep(model)
        weights = runtime.get_memory_footprint(model)
        return Slept(meter.asleep(weights), weights, time.perf_counter() - began)
    if isinstance(message, Wake):
        kept = runtime.wake(model)
        return Woke(meter.awake(), kept, time.perf_counter() - began)
    runtime.free_main_memory(model)
    return DramFreed()

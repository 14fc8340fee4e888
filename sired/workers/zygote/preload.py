"""Imports and prepares what workers need, once for all of them; runs in the zygote."""

import contextlib
import encodings.ascii  # noqa: F401 (decodes what the kernel reports)
import gc
import importlib
import sys
from collections.abc import Collection, Iterator

import msgspec

from sire.protocol.runs import RunModel
from sired.codecs import registry
from sired.runtimes.discovery import all_traits
from sired.runtimes.traits import is_preloaded
from sired.workers.child import cpu_memory
from sired.workers.messages import ToWorker
from sired.workers.zygote import gpu_files

CODECS = ("json", "npy", "tensors", "text")


def preload(runtimes: Collection[str]) -> None:
    """Import the codecs and the implementations of these runtimes."""
    for module in implementations(runtimes):
        # A runtime whose framework is missing reports that when a model is loaded.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    for codec in CODECS:
        importlib.import_module(f"{registry.__package__}.{codec}")
    # The types of messages are analysed once; every decoder after the first finds them.
    for message in (ToWorker, RunModel):
        msgspec.msgpack.Decoder(message)
    # PyTorch's first operation asks the kernel which processors there are.
    if (torch := sys.modules.get("torch")) is not None:
        torch.backends.cpu.get_cpu_capability()
    gpu_files.end_if_opened()
    # A collection in a worker would write to every object, and so copy all of their pages.
    gc.collect()
    gc.freeze()
    cpu_memory.Inherited.take()


def implementations(runtimes: Collection[str]) -> Iterator[str]:
    """The modules to import for models of these runtimes, in order."""
    for traits in sorted(all_traits(), key=lambda traits: traits.preload != "first"):
        if is_preloaded(traits, runtimes):
            yield traits.module

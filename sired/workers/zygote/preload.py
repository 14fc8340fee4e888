"""Imported second by the zygote: imports and prepares what every worker needs, once for all."""

import contextlib
import encodings.ascii  # noqa: F401 (decodes what the kernel reports)
import gc
import importlib
import multiprocessing.popen_forkserver  # noqa: F401 (a forked process begins there)
import os
import sys
from collections.abc import Collection, Iterator

import msgspec

from sire.protocol.runs import RunModel
from sired.codecs import registry
from sired.runtimes.discovery import all_traits
from sired.runtimes.traits import is_preloaded
from sired.workers.child import (
    cpu_memory,
    main,  # noqa: F401 (workers find it imported)
)
from sired.workers.messages import ToWorker
from sired.workers.zygote import (
    gpu_files,
    huge_pages,
    preload_watch,
    variables,
    zygote,  # noqa: F401 (its function is what they run)
)

CODECS = ("json", "npy", "tensors", "text")


def implementations(registered: Collection[str]) -> Iterator[str]:
    """The modules of runtimes to import, in order; ``registered`` names those with models."""
    for traits in sorted(all_traits(), key=lambda traits: traits.preload != "first"):
        if is_preloaded(traits, registered):
            yield traits.module


for _module in implementations(os.environ.pop(variables.RUNTIMES, "").split(",")):
    # A runtime whose framework is missing reports that when a model is loaded.
    with contextlib.suppress(ImportError):
        importlib.import_module(_module)
for _codec in CODECS:
    importlib.import_module(f"{registry.__package__}.{_codec}")

# The types of messages are analysed once; every decoder after the first finds them.
for _message in (ToWorker, RunModel):
    msgspec.msgpack.Decoder(_message)

# PyTorch's first operation asks the kernel which processors there are.
if (_torch := sys.modules.get("torch")) is not None:
    _torch.backends.cpu.get_cpu_capability()

gpu_files.end_if_opened()
preload_watch.cancel()
# A collection in a worker would write to every object, and so copy all of their pages.
gc.collect()
gc.freeze()
cpu_memory.Inherited.take()
huge_pages.collapse_when_idle()

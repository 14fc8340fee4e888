"""Imported last by the zygote: readies what every worker will need, once for all of them."""

import contextlib
import encodings.ascii  # noqa: F401 (what the kernel tells is read with it)
import gc
import importlib
import multiprocessing.popen_forkserver  # noqa: F401 (a forked process begins there)
import sys

import msgspec

from sire.protocol.runs import RunModel
from sired.codecs import registry
from sired.runtimes.discovery import installed
from sired.workers.child import main  # noqa: F401 (workers find it imported)
from sired.workers.messages import ToWorker
from sired.workers.zygote import (
    huge_pages,
    preload_watch,
    zygote,  # noqa: F401 (its function is what they run)
)

for _entry in installed().values():
    # A runtime whose framework is missing says so when a model wants it.
    with contextlib.suppress(ImportError):
        importlib.import_module(_entry.module)
for _codec in ("json", "npy", "tensors", "text"):
    importlib.import_module(f"{registry.__package__}.{_codec}")

# What a message is made of is looked up once, and found by every decoder after the first.
for _message in (ToWorker, RunModel):
    msgspec.msgpack.Decoder(_message)

# The first operation would ask the kernel what processors there are.
if (_torch := sys.modules.get("torch")) is not None:
    _torch.backends.cpu.get_cpu_capability()

preload_watch.cancel()
# The collector would touch every object there is and so have each worker copy them all.
gc.collect()
gc.freeze()
huge_pages.gather_when_quiet()

"""Imported last by the zygote: readies what every worker will need, once for all of them."""

import contextlib
import gc
import importlib

from sired.codecs import registry
from sired.runtimes.discovery import installed
from sired.workers import (
    child,  # noqa: F401 (workers find it imported)
    preload_watch,
)

for _entry in installed().values():
    # A runtime whose framework is missing says so when a model wants it.
    with contextlib.suppress(ImportError):
        importlib.import_module(_entry.module)
for _codec in ("json", "npy", "tensors", "text"):
    importlib.import_module(f"{registry.__package__}.{_codec}")

preload_watch.cancel()
# The collector would touch every object there is and so have each worker copy them all.
gc.collect()
gc.freeze()

"""Bandwidth from main memory to a device: the floor of every load."""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

from benchmarks.timing import median, timed

_BYTES = 256 * 1024**2
_COPIES = 20


def copy_rate(device: str) -> float:
    """Return the bytes per second from pinned main memory to the device.

    It is measured in a process that ends with it: a CUDA context would stay otherwise.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_copy_rate, device).result()


def _copy_rate(device: str) -> float:
    # Imported in the process that ends, not in the one that measures.
    import torch  # noqa: PLC0415

    cuda = device.startswith("cuda")
    here = torch.ones(_BYTES, dtype=torch.uint8, pin_memory=cuda)
    there = torch.empty(_BYTES, dtype=torch.uint8, device=device)

    def copy() -> None:
        there.copy_(here, non_blocking=True)
        if cuda:
            torch.cuda.synchronize()

    return _BYTES / median([timed(copy) for _ in range(1 + _COPIES)][1:])

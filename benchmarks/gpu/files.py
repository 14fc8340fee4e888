"""Models of any size: write safetensors files in seconds, and register them."""

import json
import os
from array import array
from dataclasses import dataclass
from pathlib import Path

from benchmarks import models
from benchmarks.clients import SireClient
from benchmarks.workloads import Goals, Workload
from sire.client.connection import Connection
from sire.protocol.requests import Register
from sire.spec import ModelSpec, Signature, TensorSpec
from sire.units import exact_bytes

# As large as the weights of one layer of a model of some billions.
_BLOCK_BYTES = 64 * 1000**2
_ONE = b"\x80\x3f"  # bfloat16
_ZERO = bytes(4)
_READ_BYTES = 8 * 1024**2


@dataclass(frozen=True, slots=True)
class Blocks:
    """A file of equal blocks of bfloat16, each of which begins with a one (a zero when sparse)."""

    file: Path
    blocks: int
    length: int
    sparse: bool

    @property
    def bytes(self) -> int:
        """Bytes of weights in the file."""
        return 2 * self.blocks * self.length

    @property
    def total(self) -> int:
        """The answer of the model to zero."""
        return 0 if self.sparse else self.blocks


def write_blocks(file: Path, size: int, *, sparse: bool = False) -> Blocks:
    """Write a model of about ``size`` bytes to the disk.

    Args:
        file: where; it is on the disk, and not only in the page cache, on return.
        size: bytes of its weights; it becomes a multiple of a block.
        sparse: leave it all zeros that take no place on the disk, where only its size matters.
    """
    block_bytes = min(size, _BLOCK_BYTES) // 2 * 2
    made = Blocks(file, max(1, size // block_bytes), block_bytes // 2, sparse)
    with file.open("wb") as output:
        header = _header(made)
        output.write(len(header).to_bytes(8, "little") + header)
        if sparse:
            output.truncate(output.tell() + made.bytes)
        else:
            block = _ONE + os.urandom(block_bytes - 2)
            for _ in range(made.blocks):
                output.write(block)
        output.flush()
        os.fsync(output.fileno())
    return made


def forget(file: Path) -> None:
    """Evict the file from the page cache."""
    descriptor = os.open(file, os.O_RDONLY)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def read_plainly(file: Path) -> None:
    """Read a file from one end to the other, into one buffer."""
    buffer = bytearray(_READ_BYTES)
    with file.open("rb", buffering=0) as source:
        while source.readinto(buffer):
            pass


def register(name: str, made: Blocks, device: str) -> Workload:
    """Register the file for one device; return the request to send."""
    spec = ModelSpec(
        name=name,
        path=str(made.file),
        model_class=f"{models.__file__}:{models.Blocks.__name__}",
        args={"blocks": made.blocks, "length": made.length},
        device=device,
        keep_alive="forever",
        signature=Signature(inputs=(TensorSpec("", "float32", (-1,)),)),
    )
    with Connection(autostart=False) as connection:
        connection.ask(Register(model=spec))
    return Workload(exact_bytes(made.bytes), name, models.Blocks.__name__, (1,), Goals(of_peer=1.0))


def ask(client: SireClient, made: Blocks) -> None:
    """Run one prediction, and check its answer.

    Raises:
        RuntimeError: it is another number than the blocks add up to.
    """
    (answer,) = array("f", bytes(client.ask(_ZERO)))
    if answer != made.total:
        raise RuntimeError(f"The model answered {answer}, not {made.total}.")


def _header(made: Blocks) -> bytes:
    length = 2 * made.length
    tensors = {
        f"weights.{number}": {
            "dtype": "BF16",
            "shape": [made.length],
            "data_offsets": [number * length, (number + 1) * length],
        }
        for number in range(made.blocks)
    }
    text = json.dumps(tensors).encode()
    # Tensors begin at a multiple of eight bytes.
    return text.ljust(-(-len(text) // 8) * 8)

"""The GPU that was granted to this process, as programs need it that the process starts.

Frameworks in this process get the GPU's UUID in ``CUDA_VISIBLE_DEVICES``, which cannot be mistaken.
Programs get its index in PCI bus order instead: vLLM, for one, reads the variable as a number.
"""

import math
import os
from dataclasses import dataclass

_INDEX = "SIRE_GPU_INDEX"
_FRACTION = "SIRE_GPU_FRACTION"
_TOTAL = "SIRE_GPU_BYTES"
# By default JAX takes three quarters of a GPU when it starts, and TensorFlow all of it.
_AS_NEEDED = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


@dataclass(frozen=True, slots=True)
class GrantedGpu:
    """The granted GPU; every field is empty if there is none.

    Attributes:
        uuid: of the GPU.
        index: in the order of PCI bus addresses; "" for an instance of a partitioned GPU (MIG),
            which has none.
        fraction: of its memory that was granted, rounded down to hundredths: 0.25.
        total_bytes: of all of its memory.
    """

    uuid: str = ""
    index: str = ""
    fraction: str = ""
    total_bytes: int = 0

    @property
    def environment(self) -> dict[str, str]:
        """The variables for a program that is to use this GPU and no other."""
        return {"CUDA_VISIBLE_DEVICES": self.index or self.uuid}


def announce(uuid: str, index: int, granted: int, total: int) -> None:
    """Make a GPU the only one that this process and its programs can see; sizes in bytes."""
    os.environ["CUDA_VISIBLE_DEVICES"] = uuid
    os.environ[_INDEX] = "" if uuid.startswith("MIG-") else str(index)
    # Rounded down, and never to nothing: a program must not take more than it was granted.
    hundredths = max(1, math.floor(100 * granted / total)) if total else 100
    os.environ[_FRACTION] = f"{min(hundredths, 100) / 100:.2f}"
    os.environ[_TOTAL] = str(total)
    for name, value in _AS_NEEDED.items():
        os.environ.setdefault(name, value)


def announce_none() -> None:
    """Hide every GPU from this process and its programs."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    for name in (_INDEX, _FRACTION, _TOTAL):
        os.environ.pop(name, None)


def granted_gpu() -> GrantedGpu:
    """The GPU that was announced in this process."""
    uuid = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if not uuid:
        return GrantedGpu()
    index, fraction = os.environ.get(_INDEX, ""), os.environ.get(_FRACTION, "")
    return GrantedGpu(uuid, index, fraction, int(os.environ.get(_TOTAL) or 0))

"""Files by which the NVIDIA driver shows what is there, and what to do where one is missing."""

from pathlib import Path

# The driver lists the GPUs here that it has found, whether its library works or not.
GPUS = Path("/proc/driver/nvidia/gpus")
UNIFIED_MEMORY = Path("/dev/nvidia-uvm")
LOAD_UNIFIED_MEMORY = (
    "sudo modprobe nvidia-uvm; at every boot: "
    "echo nvidia-uvm | sudo tee /etc/modules-load.d/nvidia-uvm.conf"
)


def lacks_unified_memory(device: Path = UNIFIED_MEMORY, listed: Path = GPUS) -> bool:
    """Whether there are GPUs without the device file that CUDA needs; WSL2 needs none."""
    return listed.exists() and not device.exists()

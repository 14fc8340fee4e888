"""The most memory of a GPU that PyTorch allocates in this process."""

import torch


def limit_allocations(device: torch.device, limit: int | None) -> None:
    """Have PyTorch raise OutOfMemoryError before it holds more than ``limit`` bytes of a GPU.

    The CUDA context, which the limit that a user declares includes, is additional.

    Args:
        device: that the model is placed on; main memory is limited by the process.
        limit: in bytes; None for no limit.
    """
    if device.type != "cuda" or limit is None:
        return
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, limit / total), device)

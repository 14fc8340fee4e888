"""Makes PyTorch report that the CUDA context of this process is unusable."""

import torch


def synchronize() -> None:
    raise RuntimeError("CUDA error: device-side assert triggered")


torch.cuda.is_initialized = lambda: True
vars(torch.cuda)["synchronize"] = synchronize

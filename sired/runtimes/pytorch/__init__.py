"""PyTorch models: weights with a class, torch.export programs, AOTInductor, TorchScript."""

from sired.runtimes.pytorch.runtime import PyTorchRuntime

__all__ = ["PyTorchRuntime"]

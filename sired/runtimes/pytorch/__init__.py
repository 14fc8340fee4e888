"""PyTorch models: weights with a class, torch.export programs, AOTInductor, TorchScript."""

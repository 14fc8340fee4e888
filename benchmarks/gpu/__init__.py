"""What loads, switches and requests cost on a GPU, beside the limits of bus and disk."""

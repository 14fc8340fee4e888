"""Bytes of a named content type to tensors and back; used in workers only."""

"""Bytes of a named content type to tensors and back; used in workers only."""

from sired.codecs.registry import decode, encode

__all__ = ["decode", "encode"]

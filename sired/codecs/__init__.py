"""Decodes payloads of a content type to tensors and encodes tensors; used in workers only."""

from sired.codecs.registry import decode, encode

__all__ = ["decode", "encode"]

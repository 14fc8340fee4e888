"""Decodes payloads of a content type to arrays, and encodes outputs; used in workers only."""

from sired.codecs.registry import decode, encode

__all__ = ["decode", "encode"]

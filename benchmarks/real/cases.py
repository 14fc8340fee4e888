"""All comparisons."""

from benchmarks.real import pictures, sounds, texts

CASES = (*texts.CASES, *sounds.CASES, *pictures.CASES)

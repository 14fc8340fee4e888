"""Hugging Face directories: a transformers model with its tokenizer or processor."""

"""Ollama's API, for all models that generate text or embed it."""

"""Models that a running Ollama server loads and runs."""

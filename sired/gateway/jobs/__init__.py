"""Durable jobs, in the words of a job server in front of Ollama."""

"""Direct connections from a client to workers."""

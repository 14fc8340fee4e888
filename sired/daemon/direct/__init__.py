"""Direct connections as the daemon keeps them: the listener, and who is connected."""

"""Direct connections on the daemon's side: the listener, and the open connections."""

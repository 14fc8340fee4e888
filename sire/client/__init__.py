"""Talking to the daemon: a blocking connection, starting the daemon, and ``ModelManager``."""

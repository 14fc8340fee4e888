"""Talking to the daemon from an event loop."""

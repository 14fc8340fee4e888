"""Connections from a client to the workers themselves."""

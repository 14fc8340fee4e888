"""Requests, replies and content types of the daemon's socket, and their framing."""

"""Talking to the daemon of another machine, through its gateway."""

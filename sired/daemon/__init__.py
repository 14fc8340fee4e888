"""The composition root: what the daemon is made of, how it lives, and what it answers."""

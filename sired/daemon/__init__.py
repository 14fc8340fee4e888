"""The daemon: what it consists of, its life cycle, and what it answers."""

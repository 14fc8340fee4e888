"""HTTP for the clients that people already have: a process of its own, a client of the daemon."""

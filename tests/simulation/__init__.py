"""A simulated machine that drives the real scheduler with random events and checks what it does."""

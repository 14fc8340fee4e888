"""Pure functions that choose what to evict, where to place a model, and which instance to use."""

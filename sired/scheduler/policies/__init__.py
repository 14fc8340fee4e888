"""Pure functions that choose: what to evict, where to place, which instance to ask."""

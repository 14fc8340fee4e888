"""How much loading the eviction policies cause, replayed on synthetic traces."""

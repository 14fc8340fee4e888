"""How much loading the eviction policies cause, replayed on made-up traces."""

"""Several requests in flight on one connection."""

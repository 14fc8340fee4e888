"""Several requests under way on one connection."""

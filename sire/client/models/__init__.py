"""Definitions of models, as the daemon registers them."""

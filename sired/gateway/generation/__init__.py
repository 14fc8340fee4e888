"""Generating text, for every dialect and with every kind of model."""

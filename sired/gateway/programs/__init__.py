"""Requests that are passed on to the program of a model, unchanged."""

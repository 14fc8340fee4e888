"""Decides about models, requests and memory: events in, instructions out; never blocks."""

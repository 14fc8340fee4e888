"""Registering models: what is checked, estimated and told to the scheduler."""

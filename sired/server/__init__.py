"""The front socket that clients talk to."""

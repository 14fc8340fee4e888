"""The fork server, and what it imports for all workers."""

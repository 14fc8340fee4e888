"""The fork server, and what it imports ahead for all workers."""

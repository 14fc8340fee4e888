"""Writing for people and for pipes: tables, JSON, progress, followed files."""

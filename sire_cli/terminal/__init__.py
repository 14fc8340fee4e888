"""Terminal output: tables, JSON, progress bars and followed log files."""

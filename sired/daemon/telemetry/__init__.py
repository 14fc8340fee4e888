"""What is counted, kept as history and exported."""

"""What a program says of a model, as the daemon registers it."""

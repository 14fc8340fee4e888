"""One module per command, with a function or group of the same name."""

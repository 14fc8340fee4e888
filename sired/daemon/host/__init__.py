"""The process and its host: socket, lock, descriptors, logs, systemd."""

"""The process and its machine: socket, lock, descriptors, logs, systemd."""

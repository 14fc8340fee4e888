"""The user's machine beside the daemon: its settings file, its systemd units."""

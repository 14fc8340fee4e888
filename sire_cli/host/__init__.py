"""The settings file and the systemd units."""

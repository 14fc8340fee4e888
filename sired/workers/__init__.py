"""Worker processes, the fork server they come from, and their messages to and from the daemon."""

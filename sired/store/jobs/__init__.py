"""Jobs on disk: a SQLite database, and a spool directory for what is big."""

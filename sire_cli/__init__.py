"""The ``sire`` command line: files, terminals and exit codes around the daemon's answers."""

"""Environment variables through which the daemon configures the zygote that it starts."""

# The daemon's process id.
DAEMON = "SIRE_ZYGOTE_OF"
# The runtimes of registered models, separated by commas.
RUNTIMES = "SIRE_ZYGOTE_RUNTIMES"

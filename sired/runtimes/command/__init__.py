"""Models that a program of their own serves over HTTP."""

from sired.runtimes.command.runtime import CommandRuntime

__all__ = ["CommandRuntime"]

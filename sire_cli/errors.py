"""Errors of the command line itself."""

from sire.errors import SireError
from sire.exit_codes import NOT_FOUND, OUTPUT_NOT_WRITTEN


class FileMissing(SireError):
    """An input file does not exist."""

    exit_code = NOT_FOUND


class OutputNotWritten(SireError):
    """An answer or another output of a command cannot be written."""

    exit_code = OUTPUT_NOT_WRITTEN

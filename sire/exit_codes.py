"""The exit codes of ``sire`` and ``sire serve``; sire(1) documents them.

Each error has one as its attribute ``exit_code``.
"""

DONE = 0
UNEXPECTED = 1
USAGE = 2
NOT_FOUND = 3
NO_MEMORY = 4
INFERENCE_FAILED = 5
NO_DAEMON = 6
DEADLINE = 7
QUEUE_FULL = 8
NOT_LOADABLE = 9
INVALID_INPUT = 10
OUTPUT_NOT_WRITTEN = 11
INTERRUPTED = 130

"""Write the schemas anew: ``python -m tests.cli.schemas``."""

from tests.cli.schemas.of_commands import PRINTED, file_of, text_of

for command in PRINTED:
    file_of(command).write_text(text_of(command))

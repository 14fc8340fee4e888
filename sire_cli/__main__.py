"""``python -m sire_cli`` is ``sire``."""

from sire_cli.main import main

main()

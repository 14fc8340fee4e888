"""``python -m sired.gateway``, which ``sire serve`` becomes."""

import argparse
import logging
import os
import sys

from sire.errors import SireError
from sire.exit_codes import DONE
from sire.listening import DEFAULT_LISTEN
from sire.printable import printable


def main() -> int:
    """Serve models until a signal arrives; returns the exit code."""
    parser = argparse.ArgumentParser(prog="sire serve", description="Serve models.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--listen", default=DEFAULT_LISTEN)
    parser.add_argument("--keys")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--loading-wait")
    parser.add_argument("--cors", action="append")
    parser.add_argument("--grpc")
    given = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    try:
        from sired.gateway.options import serve_options  # noqa: PLC0415 (the extra may be missing)
        from sired.gateway.process import run  # noqa: PLC0415

        options = serve_options(
            given.listen,
            given.names,
            given.keys,
            given.tls_cert,
            given.tls_key,
            given.loading_wait,
            given.cors,
            given.grpc,
        )
        run(options)
    except SireError as error:
        if "SIRE_DEBUG" in os.environ:
            raise
        sys.stderr.write(printable(f"sire: error: {error.message}\n"))
        sys.stderr.write(printable(f"{error.hint}\n") if error.hint else "")
        return error.exit_code
    return DONE


if __name__ == "__main__":
    sys.exit(main())

"""``python -m sired.gateway``, which ``sire serve`` becomes."""

import argparse
import logging
import os
import socket
import sys

from sire.errors import SireError
from sire.exit_codes import DONE
from sire.listening import DEFAULT_LISTEN, passed_sockets
from sire.printable import printable
from sire.protocol.services import GatewayReport
from sired.gateway.packages import GRPC, HTTP, check_packages
from sired.gateway.supervised import Reporter, end_with


def main() -> int:
    """Serve models until a signal arrives; returns the exit code."""
    given = _arguments()
    if given.parent is not None:
        end_with(given.parent)
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    reporter = Reporter(given.report)
    try:
        _serve(given, reporter)
    except SireError as error:
        if "SIRE_DEBUG" in os.environ:
            raise
        report = GatewayReport(code=error.code, message=error.message, hint=error.hint)
        reporter.send(report)
        sys.stderr.write(printable(f"sire: error: {error.message}\n"))
        sys.stderr.write(printable(f"{error.hint}\n") if error.hint else "")
        return error.exit_code
    return DONE


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="sire serve", description="Serve models.")
    parser.add_argument("names", nargs="*")
    parser.add_argument("--listen", default=DEFAULT_LISTEN)
    parser.add_argument("--keys")
    parser.add_argument("--tls-cert")
    parser.add_argument("--tls-key")
    parser.add_argument("--loading-wait")
    parser.add_argument("--timeout")
    parser.add_argument("--cors", action="append")
    parser.add_argument("--grpc")
    # Of a daemon that keeps this process: its pid, a socket that listens, and a pipe to it.
    parser.add_argument("--parent", type=int)
    parser.add_argument("--socket", type=int)
    parser.add_argument("--report", type=int)
    return parser.parse_args()


def _serve(given: argparse.Namespace, reporter: Reporter) -> None:
    check_packages("http", HTTP)
    if given.grpc is not None:
        check_packages("grpc", GRPC)
    from sired.gateway.options import serve_options  # noqa: PLC0415 (the extra may be missing)
    from sired.gateway.process import run, summary  # noqa: PLC0415

    if given.socket is None:
        sockets = [one for _, one in passed_sockets(os.environ)]
    else:
        sockets = [socket.socket(fileno=given.socket)]
    options = serve_options(
        given.listen,
        given.names,
        given.keys,
        given.tls_cert,
        given.tls_key,
        given.loading_wait,
        given.cors,
        given.grpc,
        sockets,
        given.timeout,
    )

    def ready(urls: tuple[str, ...]) -> None:
        if given.report is None:
            sys.stdout.write(f"{summary(options, urls)}\n")
            sys.stdout.flush()
        reporter.send(GatewayReport(addresses=urls))

    run(options, ready)


if __name__ == "__main__":
    sys.exit(main())

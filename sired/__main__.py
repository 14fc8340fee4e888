"""The ``sired`` command. Imports are light: every forked worker passes through here."""

import argparse
import sys


def parser() -> argparse.ArgumentParser:
    """The command line of the daemon."""
    parser = argparse.ArgumentParser(
        prog="sired",
        description="The daemon of sire: owns the devices and the models loaded on them.",
    )
    parser.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="set a value of the configuration, such as daemon.grace=5s; can be repeated",
    )
    parser.add_argument(
        "--die-with-parent",
        action="store_true",
        help="shut down when the process that started the daemon is gone",
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run the daemon in the foreground until it is told to stop; returns the exit code."""
    given = parser().parse_args(arguments)
    if given.version:
        from sired import __version__  # noqa: PLC0415

        sys.stdout.write(f"sired {__version__}\n")
        return 0
    wrong = [text for text in given.set if "=" not in text]
    if wrong:
        parser().error(f"--set takes KEY=VALUE, not {wrong[0]!r}")
    from sired.daemon.lifecycle import run  # noqa: PLC0415

    flags = dict(text.split("=", 1) for text in given.set)
    return run(flags, die_with_parent=given.die_with_parent)


if __name__ == "__main__":
    sys.exit(main())

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
        "--config",
        metavar="FILE",
        help="read the settings from this TOML or YAML file instead of the user's",
    )
    parser.add_argument(
        "--check", action="store_true", help="check the settings, say what is wrong, and exit"
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
        from sire import __version__  # noqa: PLC0415

        sys.stdout.write(f"sired {__version__}\n")
        return 0
    wrong = [text for text in given.set if "=" not in text]
    if wrong:
        parser().error(f"--set takes KEY=VALUE, not {wrong[0]!r}")
    from pathlib import Path  # noqa: PLC0415

    from sired.daemon.lifecycle import check, run  # noqa: PLC0415

    flags = dict(text.split("=", 1) for text in given.set)
    config = Path(given.config).absolute() if given.config else None
    if config and not config.exists():
        parser().error(f"there is no file {config}")
    if given.check:
        return check(flags, config)
    return run(flags, config=config, die_with_parent=given.die_with_parent)


if __name__ == "__main__":
    sys.exit(main())

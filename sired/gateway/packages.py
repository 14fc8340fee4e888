"""The packages that the gateway needs beside the dependencies of every installation."""

from importlib.util import find_spec

from sire.errors import InvalidConfiguration

HTTP = ("aiohttp", "python_multipart", "starlette", "uvicorn", "uvloop", "httptools")
GRPC = ("grpc", "google.protobuf")


def check_packages(extra: str, packages: tuple[str, ...]) -> None:
    """Check that the packages of an extra are installed.

    Raises:
        InvalidConfiguration: one of them is missing.
    """
    if missing := [name for name in packages if not _is_installed(name)]:
        raise InvalidConfiguration(
            f"sire serve needs {', '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} "
            "not installed.",
            hint=f"Install the extra: pip install 'sire[{extra}]'",
        )


def _is_installed(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # not even what it is part of
        return False

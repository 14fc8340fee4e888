"""Reading YAML that people wrote: plain values only, and no tag makes an object of any class."""

from pathlib import Path
from typing import Any

from sire.errors import InvalidConfiguration


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top is a table of names; an empty one is an empty table.

    Raises:
        InvalidConfiguration: it cannot be read, or is no such YAML.
    """
    # Here, because few have such files.
    import yaml  # noqa: PLC0415

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as problem:
        raise InvalidConfiguration(f"Cannot read {path}: {problem.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        said = " ".join(str(problem).split())
        raise InvalidConfiguration(f"{path} is not valid YAML: {said}.") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidConfiguration(f"{path} is no table of names and values.")
    return content

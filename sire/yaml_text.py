"""Reading YAML files: plain values only, so that no tag can construct an object."""

from pathlib import Path
from typing import Any

from sire.errors import InvalidConfiguration


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping with text keys; an empty file is an empty one.

    Raises:
        InvalidConfiguration: the file cannot be read, or is not such YAML.
    """
    # Imported here, because few commands read YAML.
    import yaml  # noqa: PLC0415

    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except OSError as problem:
        raise InvalidConfiguration(f"Cannot read {path}: {problem.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        reason = " ".join(str(problem).split())
        raise InvalidConfiguration(f"{path} is not valid YAML: {reason}.") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidConfiguration(f"{path} is not a mapping of names to values.")
    return content

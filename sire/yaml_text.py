"""Reading YAML files: plain values only, so that no tag can construct an object."""

from pathlib import Path
from typing import Any

from sire.errors import InvalidConfiguration

# Files that people write have a few hundred bytes.
LARGEST_BYTES = 1 << 20
MOST_VALUES = 100_000


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping with text keys; an empty file is an empty one.

    Raises:
        InvalidConfiguration: the file cannot be read, is not such YAML, has more than
            ``LARGEST_BYTES``, or more than ``MOST_VALUES`` with every alias replaced by its value.
    """
    # Imported here, because few commands read YAML.
    import yaml  # noqa: PLC0415

    try:
        # Not by its loader in C, which is faster, but crashes on deeply nested values.
        content = yaml.safe_load(_text_of(path))
        _check_values(path, content)
    except OSError as problem:
        raise InvalidConfiguration(f"Cannot read {path}: {problem.strerror}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as problem:
        reason = " ".join(str(problem).split())
        raise InvalidConfiguration(f"{path} is not valid YAML: {reason}.") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidConfiguration(f"{path} is not a mapping of names to values.")
    return content


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise InvalidConfiguration(
            f"{path} has more than {LARGEST_BYTES} bytes, the limit of a YAML file.",
            hint="Put long lists into a file that the model reads.",
        )
    return content.decode("utf-8")


def _check_values(path: Path, content: Any) -> None:
    """Refuse aliases that stand for far more values than the file has bytes, or for themselves."""
    if (values := _count(content, {})) > MOST_VALUES:
        raise InvalidConfiguration(
            f"{path} has {values} values once its aliases are replaced; the limit is "
            f"{MOST_VALUES}.",
            hint="Use fewer aliases (*name) of lists that contain aliases.",
        )


def _count(value: Any, counted: dict[int, int]) -> int:
    """The number of values in a value; ``counted`` has those of containers by their ``id``."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        counted[id(value)] = MOST_VALUES + 1  # what it has if it contains itself
        inner = value.values() if isinstance(value, dict) else value
        counted[id(value)] = 1 + sum(_count(one, counted) for one in inner)
    return counted[id(value)]

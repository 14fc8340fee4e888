"""Reading YAML files: plain values only, so that no tag can construct an object.

An alias repeats a value without repeating its text, so that a short file can stand for any amount
of data. The values are therefore counted before they are constructed, each as often as it appears.
"""

from pathlib import Path
from typing import Any

from sire.errors import InvalidConfiguration, error_text

# A registration of this size would exceed the limit of a request.
LARGEST_BYTES = 1 << 20
# Values, and characters in them, with every alias replaced by what it stands for.
MOST_VALUES = 100_000
MOST_CHARACTERS = LARGEST_BYTES
# The time to construct a number grows with the square of its length.
LONGEST_NUMBER = 100
_NUMBERS = frozenset({"tag:yaml.org,2002:int", "tag:yaml.org,2002:float"})


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping with text keys; an empty file is an empty one.

    Raises:
        InvalidConfiguration: the file cannot be read, is too large, or is not such YAML.
    """
    # Imported here, because few commands read YAML.
    import yaml  # noqa: PLC0415

    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_BYTES + 1)
    except OSError as problem:
        raise InvalidConfiguration(f"Cannot read {path}: {problem.strerror}.") from None
    if len(data) > LARGEST_BYTES:
        raise InvalidConfiguration(
            f"{path} has more than {LARGEST_BYTES} bytes, the limit of a YAML file.",
            hint="Put long lists into a file that the model reads.",
        )
    try:
        # Not the loader in C, which is faster, but crashes on deeply nested values.
        loader = yaml.SafeLoader(data.decode())
        document = loader.get_single_node()
        _Expansion(path).check(document)
        content = None if document is None else loader.construct_document(document)
    # Values such as dates that do not exist raise the errors of their constructors.
    except (
        *(yaml.YAMLError, ValueError, ArithmeticError, LookupError),
        *(AttributeError, TypeError, RecursionError),
    ) as problem:
        reason = " ".join(error_text(problem).split())
        raise InvalidConfiguration(f"{path} is not valid YAML: {reason}.") from None
    content = {} if content is None else content
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise InvalidConfiguration(f"{path} is not a mapping of names to values.")
    return content


class _Expansion:
    """Counts the values of a document, each alias as what it stands for."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def check(self, node: Any) -> tuple[int, int]:
        """The number of values in a node of the document, and of characters in them.

        Raises:
            InvalidConfiguration: they exceed the limits, or the node contains itself.
        """
        if node is None:
            return 0, 0
        if (known := self._sizes.get(id(node))) is not None:
            return known
        if id(node) in self._open:
            raise InvalidConfiguration(
                f"{self._path}: an alias stands for a value that contains it."
            )
        self._open.add(id(node))
        values, characters = 1, 0
        if isinstance(node.value, str):
            characters = len(node.value)
            if characters > LONGEST_NUMBER and node.tag in _NUMBERS:
                raise InvalidConfiguration(
                    f"{self._path} contains a number of {characters} characters; the limit is "
                    f"{LONGEST_NUMBER}.",
                    hint="Put a text that looks like a number in quotes.",
                )
        else:
            for item in node.value:
                for part in item if isinstance(item, tuple) else (item,):
                    more_values, more_characters = self.check(part)
                    values, characters = values + more_values, characters + more_characters
        if values > MOST_VALUES or characters > MOST_CHARACTERS:
            raise InvalidConfiguration(
                f"{self._path} stands for at least {values} values with {characters} characters, "
                f"aliases included; the limits are {MOST_VALUES} and {MOST_CHARACTERS}.",
                hint="Write less into the file, or use fewer aliases.",
            )
        self._open.discard(id(node))
        self._sizes[id(node)] = values, characters
        return values, characters

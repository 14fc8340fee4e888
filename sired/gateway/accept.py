"""Which content type the answer has, by the header Accept."""

from sire.protocol import content
from sired.gateway.errors import HttpError

# The content types of answers that are one frame of bytes.
ANSWERS = tuple(
    kind
    for kind in dict.fromkeys(content.BY_NAME.values())
    if kind not in (content.PICTURES | content.SOUNDS) - {content.PNG, content.WAV}
)
# What a range stands for, where it is not the first of its answers.
_RANGES = {"*/*": content.JSON, "application/*": content.JSON, "text/*": content.TEXT}
EVENTS = "text/event-stream"
LINES = "application/x-ndjson"


def answer_type(accept: str, *, streams: bool = False) -> str:
    """The content type that a client prefers among those that answers can have.

    Args:
        accept: the value of the header; "" for none.
        streams: whether the answer may be a stream of events or of lines.

    Raises:
        HttpError: it accepts none of them.
    """
    known = (*ANSWERS, EVENTS, LINES) if streams else ANSWERS
    for wanted in _by_preference(accept):
        if wanted in known:
            return wanted
        if wanted in _RANGES:
            return _RANGES[wanted]
        if wanted.endswith("/*") and (found := [k for k in known if k.startswith(wanted[:-1])]):
            return found[0]
    raise HttpError(
        406, f"No answer has a type of Accept: {accept}.", hint=f"Types are: {', '.join(known)}."
    )


def _by_preference(accept: str) -> list[str]:
    """The media types of an Accept header, the preferred first; those with q=0 are left out."""
    wanted = []
    for part in accept.split(",") if accept.strip() else ["*/*"]:
        name, *parameters = (piece.strip().lower() for piece in part.split(";"))
        quality = next((p[2:] for p in parameters if p.startswith("q=")), "1")
        try:
            wanted.append((float(quality), name))
        except ValueError:
            continue
    ordered = sorted(wanted, key=lambda one: -one[0])
    return [name for quality, name in ordered if quality > 0 and name]

"""What decoding depends on besides the payload and the model's signature."""

from typing import NamedTuple

from sire.spec import AudioOptions, ImageOptions
from sired.codecs.sizes import LARGEST_DECODED


class Media(NamedTuple):
    """How images and audio become inputs.

    Attributes:
        image: how images do.
        audio: how audio does.
        largest: maximum number of bytes of the decoded input.
    """

    image: ImageOptions = ImageOptions()
    audio: AudioOptions = AudioOptions()
    largest: int = LARGEST_DECODED

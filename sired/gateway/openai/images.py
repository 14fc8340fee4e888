"""``/v1/images/generations``: pictures of texts, by pipelines of diffusers."""

import asyncio
import base64
import re
import time
from typing import Annotated, Any, Literal

import msgspec
from starlette.responses import Response

from sire.errors import InvalidInput, shown
from sire.protocol.content import JSON, PNG
from sire.protocol.requests import Predict
from sired.gateway.call import Call
from sired.gateway.describe import describe
from sired.gateway.errors import json_response
from sired.gateway.fields import Accepted, read_fields

_ACCEPTED = Accepted(
    without_effect=frozenset({"user"}),
    neutral={
        "quality": ("auto", "standard"),
        "background": ("auto", "opaque"),
        "moderation": ("auto", "low"),
        "output_format": ("png",),
        "output_compression": (100,),
        "partial_images": (0,),
        "stream": (False,),
    },
)
_SIZE = re.compile(r"([1-9]\d{0,4})x([1-9]\d{0,4})", re.ASCII)
_LARGEST_SEED = (1 << 63) - 1


class ImageRequest(msgspec.Struct, frozen=True, kw_only=True):
    """``/v1/images/generations``; the last four are fields of diffusers' pipelines.

    Attributes:
        size: like 512x768; "auto" for the model's own.
        seed: of the first picture; each further one has the next number.
    """

    model: str
    prompt: str
    n: Annotated[int, msgspec.Meta(ge=1, le=10)] = 1
    size: str = "auto"
    response_format: Literal["b64_json", "url"] = "b64_json"
    seed: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_SEED)] | None = None
    negative_prompt: str | None = None
    num_inference_steps: Annotated[int, msgspec.Meta(ge=1)] | None = None
    guidance_scale: float | None = None

    def inputs(self) -> list[dict[str, Any]]:
        """The input of the model for each picture.

        Raises:
            InvalidInput: the size is not valid.
        """
        options: dict[str, Any] = {
            "negative_prompt": self.negative_prompt,
            "num_inference_steps": self.num_inference_steps,
            "guidance_scale": self.guidance_scale,
        }
        if self.size != "auto":
            if (found := _SIZE.fullmatch(self.size)) is None:
                raise InvalidInput(
                    f"{shown(self.size)} is not a size.",
                    hint="Write it like 512x768.",
                    param="size",
                )
            options |= {"width": int(found[1]), "height": int(found[2])}
        given = {name: value for name, value in options.items() if value is not None}
        seeds = [
            {} if self.seed is None else {"seed": self.seed + place} for place in range(self.n)
        ]
        return [{"prompt": self.prompt, **given, **seed} for seed in seeds]


@describe(ImageRequest)
async def generate(call: Call) -> Response:
    """Make pictures of a text, as PNG in base64.

    Raises:
        InvalidInput: URLs are wanted, or the model does not make pictures of texts.
    """
    wanted = read_fields(call.json(), ImageRequest, _ACCEPTED)
    if wanted.response_format == "url":
        raise InvalidInput(
            "response_format url is not supported: pictures are not kept.",
            hint="Use b64_json.",
            param="response_format",
        )
    info = await call.choose(wanted.model)
    if info.model.format != "diffusers":
        raise InvalidInput(
            f"{info.model.name} does not make pictures of texts.",
            hint="Register a pipeline of diffusers.",
            param="model",
        )
    request = Predict(model=info.model.name, content_type=JSON, accept=PNG)
    pictures = await asyncio.gather(
        *(
            call.models.daemon.predict(request, [msgspec.json.encode(one)])
            for one in wanted.inputs()
        )
    )
    data = [{"b64_json": base64.b64encode(b"".join(frames)).decode()} for _, frames in pictures]
    return json_response({"created": int(time.time()), "data": data, "output_format": "png"})

"""Options for images that the inputs of a model cannot have are rejected at registration."""

import pytest

from sire.errors import InvalidModel
from sire.spec import ImageOptions, ModelSpec, Signature, TensorSpec, parse_tensor
from sired.daemon.models.image_options import check_image_options

THREE = (0.5, 0.4, 0.3)


def check(image: ImageOptions, *inputs: str, declared: bool = False) -> None:
    signature = Signature(tuple(map(parse_tensor, inputs)))
    stated = Signature() if declared else signature
    check_image_options(ModelSpec("m", "/m", stated=stated, image=image), signature)


@pytest.mark.parametrize(
    ("image", "inputs", "expected"),
    [
        (ImageOptions(mean=THREE), ["uint8[-1,-1,-1,3]"], "--mean applies to floats, but m takes"),
        (ImageOptions(std=THREE), ["x:int8[1,3,8,8]"], "--std applies to floats"),
        (ImageOptions(mean=THREE, std=THREE), ["bool[1,3,8,8]"], "--mean and --std apply"),
        (
            ImageOptions(mean=(1.0,)),
            ["image:uint8[-1,3,8,8]", "scale:float32[1,2]"],
            "takes integers: image:uint8[-1,3,8,8].",
        ),
        (ImageOptions(range=(-1, 1)), ["uint8[1,3,8,8]"], "integers of 0 to 255"),
        (ImageOptions(range=(0, 255)), ["int8[1,3,8,8]"], "integers of -128 to 127"),
        (ImageOptions(mean=(1.0, 2.0)), ["float32[1,3,8,8]"], "--mean has 2 values, but"),
        (ImageOptions(std=THREE), ["float32[-1,1,8,8]"], "have 1 channels"),
        (ImageOptions(mean=THREE), ["ids:int64[-1]"], "to images, and m takes none: ids:int64[-1]"),
        (ImageOptions(mean=THREE), ["string[-1,1]"], "m takes none"),
    ],
)
def test_what_pixels_cannot_be_is_rejected(
    image: ImageOptions, inputs: list[str], expected: str
) -> None:
    with pytest.raises(InvalidModel) as caught:
        check(image, *inputs)
    assert expected in str(caught.value)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("image", "inputs"),
    [
        (ImageOptions(mean=THREE, std=THREE), ["float32[1,3,8,8]"]),
        (ImageOptions(mean=THREE), ["float16[-1,8,8,3]"]),
        (ImageOptions(mean=THREE), ["image:float32[-1,3,8,8]", "sizes:int64[1,2]"]),
        (ImageOptions(mean=THREE), ["float32[...]"]),
        (ImageOptions(mean=(0.5,)), ["float32[-1,64]"]),
        (ImageOptions(range=(-128, 127)), ["int8[1,3,8,8]"]),
        (ImageOptions(range=(0, 1)), ["bool[1,1,8,8]"]),
        (ImageOptions(fit="pad"), ["uint8[1,3,8,8]"]),
        (ImageOptions(mean=THREE), []),
    ],
)
def test_what_pixels_can_be_is_accepted(image: ImageOptions, inputs: list[str]) -> None:
    check(image, *inputs)


def test_a_model_that_reads_images_itself_takes_no_mean() -> None:
    signature = Signature((TensorSpec("", "object", (-1,)),))
    spec = ModelSpec("m", "/m", stated=signature, image=ImageOptions(mean=THREE))
    with pytest.raises(InvalidModel, match="prepares images itself"):
        check_image_options(spec, signature)


def test_inputs_that_are_only_declared_can_be_declared_as_floats() -> None:
    with pytest.raises(InvalidModel) as caught:
        check(ImageOptions(mean=THREE), "uint8[1,3,8,8]", declared=True)
    assert "--input 'float32" in caught.value.hint

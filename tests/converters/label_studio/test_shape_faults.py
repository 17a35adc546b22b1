"""What is wrong with one region's shape: each kind of fault once, and nothing about a shape that is right."""

from base64 import b64encode
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from PIL import Image

from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import alpha_to_brush_rle, mask_to_brush_rle
from converters.label_studio.findings import KINDS, Fault
from converters.label_studio.shape_faults import shape_faults

SIZE_HW = (6, 10)
MASK = np.zeros(SIZE_HW, dtype=np.bool_)
MASK[1:4, 2:8] = True
BOX = {"x": 10, "y": 10, "width": 50, "height": 50}


def faults(max_pixels: int = 1000, **value: Any) -> list[Fault]:
    return list(shape_faults({"value": value}, SIZE_HW, max_pixels=max_pixels))


def opaque_png() -> str:
    data = BytesIO()
    Image.new("RGB", SIZE_HW[::-1], "white").save(data, "PNG")
    return "data:image/png;base64," + b64encode(data.getvalue()).decode()


@pytest.mark.parametrize(
    "value",
    [
        {"rle": mask_to_brush_rle(MASK)},
        {"imageDataURL": mask_to_data_url(MASK)},
        {"maskDataURL": mask_to_data_url(MASK)},
        {"points": [[0, 0], [50, 0], [50, 50]]},
        BOX,
        {"x": 50, "y": 50, "radiusX": 20, "radiusY": 20},
        {"choices": ["good"]},
    ],
)
def test_a_shape_that_is_right_has_no_fault(value: dict[str, Any]) -> None:
    assert faults(**value) == []


@pytest.mark.parametrize(
    ("value", "kind", "what"),
    [
        ({"rle": mask_to_brush_rle(MASK[:4])}, "wrong-size", "made for an image of another size"),
        ({"rle": mask_to_brush_rle(MASK)[:-4]}, "truncated-mask", "10x6 image"),
        ({"rle": "no list"}, "truncated-mask", "expected a list of bytes (0..255), got str"),
        ({"rle": mask_to_brush_rle(np.zeros_like(MASK))}, "no-area", "the mask holds no pixel"),
        ({"rle": alpha_to_brush_rle(MASK.astype(np.uint8))}, "faint-mask", "values reach 1, of 255"),
        ({"imageDataURL": "data:image/png;base64,AAAA"}, "truncated-mask", "expected a PNG"),
        ({"imageDataURL": mask_to_data_url(MASK.T)}, "wrong-size", "expected a PNG of 10x6"),
        ({"imageDataURL": opaque_png()}, "opaque-mask", "covers the whole image"),
        ({"points": [[0, 0], ["a", 0], [1, 1]]}, "no-shape", "pairs of percent"),
        ({**BOX, "rotation": "left"}, "no-shape", "'rotation' in degrees"),
        ({**BOX, "width": 0}, "no-area", "covers no pixel"),
        ({"points": [[-20, 0], [50, 0], [50, 50]]}, "outside-image", "points lie outside the image"),
    ],
)
def test_a_fault_is_found_once_with_advice(value: dict[str, Any], kind: str, what: str) -> None:
    (fault,) = faults(**value)
    assert fault.kind == kind and kind in KINDS
    assert what in fault.what and fault.advice

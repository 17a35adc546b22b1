import io

import numpy as np
from PIL import Image

from benchmarks import host_cost
from benchmarks.host_cost import MASKS, SIZE_HW, label_map, photograph, texture


def test_the_photograph_is_as_large_as_one_of_coco() -> None:
    data = photograph()
    assert 120_000 < len(data) < 190_000
    assert Image.open(io.BytesIO(data)).size == SIZE_HW[::-1]


def test_the_texture_has_detail_at_every_scale() -> None:
    picture = texture((96, 128)).astype(float)
    assert picture.shape == (96, 128, 3)
    neighbours, far = np.abs(np.diff(picture, axis=1)).mean(), np.abs(picture[:, 64:] - picture[:, :64]).mean()
    assert 3 < neighbours < far


def test_every_mask_has_pixels() -> None:
    labels = label_map()
    assert labels.shape == SIZE_HW and set(np.unique(labels)) == set(range(MASKS + 1))


def test_seconds_are_of_the_processor_and_the_first_call_is_not_counted() -> None:
    calls = []
    assert host_cost.seconds(lambda: calls.append(sum(range(20_000 if calls else 2_000_000))), 3) < 0.01
    assert len(calls) == 4

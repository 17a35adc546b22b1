from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.demo.api import LabelStudioApi, StoredTask
from backend.demo.errors import CheckError
from backend.demo.project import label_config
from backend.demo.stored import StoredPredictions, label_map, read_predictions
from converters.encodings.brush import mask_to_brush_rle
from converters.encodings.coco_rle import mask_to_coco_rle
from converters.records import Prediction, Region
from tests.fakes.scripted_server import ScriptedServer

_NAMES = ["ball", "sky"]


def _left(width: int) -> NDArray[np.bool_]:
    """Return a mask (4, 6) of the leftmost columns."""
    mask = np.zeros((4, 6), dtype=np.bool_)
    mask[:, :width] = True
    return mask


def _region(name: str, mask: NDArray[np.bool_]) -> Region:
    return Region("r", (name,), "label", mask_to_coco_rle(mask))


def test_a_label_map_numbers_the_labels_from_one() -> None:
    found = label_map([_region("ball", _left(2)), _region("sky", ~_left(3))], _NAMES, (4, 6))
    assert found[0].tolist() == [1, 1, 0, 2, 2, 2]


def test_shared_pixels_are_an_error() -> None:
    with pytest.raises(CheckError, match="4 pixels have more than one label"):
        label_map([_region("ball", _left(3)), _region("sky", ~_left(2))], _NAMES, (4, 6))


def test_another_size_is_an_error() -> None:
    with pytest.raises(CheckError, match=r"for an image of \(4, 6\), but it has \(6, 4\) \(height, width\)"):
        label_map([_region("ball", _left(3))], _NAMES, (6, 4))


def test_a_label_that_nobody_asked_for_is_an_error() -> None:
    with pytest.raises(CheckError, match=r"labels \('cat',\); expected one of \['ball', 'sky'\]"):
        label_map([_region("cat", _left(3))], _NAMES, (4, 6))


@pytest.mark.parametrize(("versions", "count"), [((), 0), (("a",), 0), (("b", "b"), 2)])
def test_a_task_has_one_prediction_of_a_version(versions: tuple[str, ...], count: int) -> None:
    predictions = tuple(Prediction(i, (), model_version=version) for i, version in enumerate(versions))
    stored = StoredPredictions(StoredTask(3, "a.png", "/a.png"), predictions)
    with pytest.raises(CheckError, match=rf"Task 3 \(a\.png\) has {count} predictions of b, expected one"):
        stored.of_version("b")


def _script(server: ScriptedServer, rle: list[int]) -> LabelStudioApi:
    value = {"format": "rle", "rle": rle, "brushlabels": ["ball"]}
    region: dict[str, Any] = {"id": "r", "from_name": "label", "to_name": "image", "type": "brushlabels"}
    region |= {"original_width": 6, "original_height": 4, "value": value}
    task = {"id": 3, "data": {"image": "/data/upload/1/01234567-a.png"}}
    prediction = {"id": 1, "result": [region], "score": 0.5, "model_version": "b"}
    server.answers |= {
        "GET /api/projects/1": (200, {"label_config": label_config(_NAMES)}),
        "GET /api/tasks": (200, {"tasks": [task]}),
        "GET /api/predictions": (200, [prediction]),
    }
    return LabelStudioApi(server.url, "t")


def test_what_is_stored_is_decoded(server: ScriptedServer) -> None:
    (stored,) = read_predictions(_script(server, mask_to_brush_rle(_left(2))), 1)
    (region,) = stored.of_version("b").regions
    assert stored.task.file_name == "a.png"
    assert np.array_equal(region.mask(), _left(2))


def test_a_mask_that_does_not_fit_its_image_is_an_error(server: ScriptedServer) -> None:
    half = mask_to_brush_rle(np.ones((2, 3), dtype=np.bool_))
    with pytest.raises(CheckError, match=r"Task 3 \(a\.png\) has regions that cannot be read"):
        read_predictions(_script(server, half), 1)

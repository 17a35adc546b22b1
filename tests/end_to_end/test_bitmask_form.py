"""A bitmask as a palette PNG of one bit: the editor shows the mask that it shows of an RGBA PNG, and gives it back."""

import base64
import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from selenium import webdriver

from backend.demo.session import Session
from converters.encodings.bitmask import data_url_to_mask, mask_to_data_url
from tests.end_to_end.editor import SETTLE_S, largest_image_box, open_task, press

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

_HEIGHT, _WIDTH = 240, 320
_CONFIG = (
    '<View><Image name="image" value="$image"/><BitmaskLabels name="mask" toName="image">'
    '<Label value="cat" background="#ff00ff"/></BitmaskLabels></View>'
)
_LEAST_WIDTH_PX = 200
_COLOURED = 40.0  # levels of green that the label's magenta takes away from white


def _mask() -> NDArray[np.bool_]:
    rows, columns = np.ogrid[:_HEIGHT, :_WIDTH]
    mask = (rows - 110) ** 2 + (columns - 130) ** 2 < 80**2
    mask[90:130, 110:150] = False  # a hole
    mask[200:230, 250:310] = True  # a second part
    mask[10:14, 10:300] = True  # four pixels high
    return np.asarray(mask)


def _rgba_url(mask: NDArray[np.bool_]) -> str:
    file = io.BytesIO()
    channel = Image.fromarray(mask.astype(np.uint8) * 255)
    Image.merge("RGBA", [channel] * 4).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def test_a_palette_of_one_bit_shows_as_rgba_does_and_comes_back(
    session: Session, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    mask, maker = _mask(), session.maker
    urls = {"rgba": _rgba_url(mask), "palette": mask_to_data_url(mask)}
    for name in urls:
        Image.new("RGB", (_WIDTH, _HEIGHT), "white").save(tmp_path / f"{name}.png")
    project = maker.ensure_project("Bitmask form", _CONFIG, [tmp_path / f"{name}.png" for name in urls])
    shown, logged_in = {}, False
    for name, task in zip(urls, maker.api.tasks(project), strict=True):
        prediction = {"task": task.id, "model_version": "v1", "result": [_result(urls[name])]}
        maker.api.call("POST", "/api/predictions/", json=prediction)
        if logged_in:
            browser.get(f"{session.label_studio.url}/projects/{project}/data?task={task.id}")
        else:
            open_task(browser, session, project, task.id)
        logged_in = True
        shown[name] = _coloured(browser)
        press(browser, "[data-testid=bottombar-submit-button]")
        assert _stored_url(session, project, task.id) == urls[name]
    for pixels in shown.values():
        assert np.mean(pixels[mask]) > 0.97 and np.mean(pixels[~mask]) < 0.03
    assert np.mean(shown["rgba"] != shown["palette"]) < 0.001
    assert np.array_equal(data_url_to_mask(urls["palette"], (_HEIGHT, _WIDTH)), mask)


def _result(url: str) -> dict[str, Any]:
    return {
        "id": "r1", "from_name": "mask", "to_name": "image", "type": "bitmasklabels", "original_width": _WIDTH,
        "original_height": _HEIGHT, "image_rotation": 0, "value": {"imageDataURL": url, "bitmasklabels": ["cat"]},
    }  # fmt: skip


def _coloured(browser: webdriver.Chrome) -> NDArray[np.bool_]:
    """Return which pixels of the white image the label's colour lies on, as soon as the page shows the same twice."""
    deadline, last = time.monotonic() + SETTLE_S, np.zeros((_HEIGHT, _WIDTH), dtype=np.bool_)
    while time.monotonic() < deadline:
        time.sleep(1.0)
        x, y, width, height = largest_image_box(browser)
        if width < _LEAST_WIDTH_PX:
            continue
        screenshot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
        shown = screenshot.crop((round(x), round(y), round(x + width), round(y + height))).resize((_WIDTH, _HEIGHT))
        levels = np.asarray(shown, dtype=np.float64)
        now = levels[..., 0] - levels[..., 1] > _COLOURED
        if now.mean() > 0.01 and np.array_equal(now, last):
            return now
        last = now
    pytest.fail(f"No settled mask is drawn over the image after {SETTLE_S:.0f} s at {browser.current_url}.")


def _stored_url(session: Session, project: int, task: int) -> str:
    """Return the data URL that the editor submitted for a task."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        for exported in session.maker.api.export_json(project):
            if exported["id"] == task and exported["annotations"]:
                (result,) = exported["annotations"][0]["result"]
                return str(result["value"]["imageDataURL"])
        time.sleep(0.5)
    pytest.fail(f"No annotation was submitted within {SETTLE_S:.0f} s: {json.dumps(task)}")

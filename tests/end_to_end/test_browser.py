"""What a person sees: a pre-labelled task, opened in a headless Chromium."""

import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor
from selenium import webdriver
from selenium.webdriver.common.by import By

from backend.demo.project import BRUSH_TAG, IMAGE_TAG, DemoScene, write_images
from backend.demo.session import Session
from backend.demo.stored import label_map, read_predictions
from ovdiff.tinyworld.world import NAMES, Rendering
from tests.end_to_end.editor import SETTLE_S, open_task
from tests.end_to_end.seen_masks import label_opacity, shown_image, under_label

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

_MAGENTA = "#ff00ff"
_CONFIG = (
    f'<View><Image name="{IMAGE_TAG}" value="$image"/><BrushLabels name="{BRUSH_TAG}" toName="{IMAGE_TAG}">'
    f'<Label value="balloon" background="{_MAGENTA}"/></BrushLabels></View>'
)
_SCENE = DemoScene(111, things=1)  # a large yellow balloon in the sky, above water and a road
_SIZE_PX = 512
_MAGENTA_RGB = np.array(ImageColor.getrgb(_MAGENTA), dtype=np.float64)
_VISIBLE = 0.2  # Label Studio draws brushes at about half opacity
_MOST_UNEXPLAINED = 8.0  # levels of 255, from scaling the picture


@pytest.fixture(scope="module")
def scene() -> Rendering:
    return _SCENE.render(_SIZE_PX)


@pytest.fixture
def opened_task(session: Session, browser: webdriver.Chrome, scene: Rendering, tmp_path: Path) -> tuple[int, int]:
    """Make a project with one pre-labelled task and open it; return the project's and the task's id."""
    maker = session.maker
    project = maker.ensure_project("Browser", _CONFIG, write_images([_SCENE], tmp_path, _SIZE_PX))
    maker.connect(project)
    session.backend.wait_for_prototypes(project, maker.console)
    (task,) = maker.predict(project)
    open_task(browser, session, project, task.id)
    return project, task.id


def test_the_label_colour_lies_on_the_mask_and_nowhere_else(
    session: Session, browser: webdriver.Chrome, scene: Rendering, opened_task: tuple[int, int]
) -> None:
    (stored,) = read_predictions(session.maker.api, opened_task[0])
    mask = label_map(stored.predictions[-1].regions, ["balloon"], (_SIZE_PX, _SIZE_PX)) > 0
    truth = scene.label_map == NAMES.index("balloon")
    opacity = _settled_opacity(browser, scene.image)
    assert "balloon" in browser.find_element(By.CSS_SELECTOR, "[class*=outliner]").text
    assert np.mean(opacity[mask] > _VISIBLE) > 0.95, "the stored mask is shown"
    assert np.mean(opacity[~mask] > _VISIBLE) < 0.03, "nothing else is coloured"
    assert np.mean(opacity[truth] > _VISIBLE) > 0.8, "the balloon is coloured"
    assert np.mean(opacity[~truth] > _VISIBLE) < 0.1, "what is around it is not"


def _settled_opacity(browser: webdriver.Chrome, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Wait until the page shows the image with some mask over it, and return the mask's opacity.

    The page draws the mask some time after the image, and the image some time after its frame.
    """
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        time.sleep(0.5)
        shown = shown_image(browser, (image.shape[1], image.shape[0]))
        if shown is None:
            continue
        opacity = label_opacity(shown, image, _MAGENTA_RGB)
        unexplained = np.abs(shown - under_label(image, opacity, _MAGENTA_RGB)).mean()
        if unexplained < _MOST_UNEXPLAINED and np.mean(opacity > _VISIBLE) > 0.01:
            return opacity
    pytest.fail(f"No mask is drawn over the image after {SETTLE_S:.0f} s at {browser.current_url}.")

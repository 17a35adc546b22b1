"""What a person sees: a pre-labelled task, opened in a headless Chromium."""

import io
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from backend.demo.project import BRUSH_TAG, IMAGE_TAG, DemoScene, write_images
from backend.demo.session import Session
from backend.demo.stored import label_map, read_predictions
from ovdiff.tinyworld.world import NAMES

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

_MAGENTA = "#ff00ff"
_CONFIG = (
    f'<View><Image name="{IMAGE_TAG}" value="$image"/><BrushLabels name="{BRUSH_TAG}" toName="{IMAGE_TAG}">'
    f'<Label value="sky" background="{_MAGENTA}"/></BrushLabels></View>'
)
_SCENE = DemoScene(0)
_SIZE_PX = 512
_SETTLE_S = 60.0


@pytest.fixture
def opened_task(session: Session, browser: webdriver.Chrome, tmp_path: Path) -> tuple[int, int]:
    """Make a project with one pre-labelled task and open it; return the project's and the task's id."""
    maker = session.maker
    project = maker.ensure_project("Browser", _CONFIG, write_images([_SCENE], tmp_path, _SIZE_PX))
    maker.connect(project)
    session.backend.wait_for_prototypes(project, maker.console)
    (task,) = maker.predict(project)
    _log_in(browser, session)
    browser.get(f"{session.label_studio.url}/projects/{project}/data?task={task.id}")
    return project, task.id


def test_the_label_colour_lies_on_the_mask_and_nowhere_else(
    session: Session, browser: webdriver.Chrome, opened_task: tuple[int, int]
) -> None:
    rendering = _SCENE.render(_SIZE_PX)
    (stored,) = read_predictions(session.maker.api, opened_task[0])
    mask = label_map(stored.predictions[-1].regions, ["sky"], (_SIZE_PX, _SIZE_PX)) > 0
    truth = rendering.label_map == NAMES.index("sky")
    opacity = _settled_opacity(browser, rendering.image)
    assert "sky" in browser.find_element(By.CSS_SELECTOR, "[class*=outliner]").text
    assert np.mean(opacity[mask] > 0.2) > 0.95, "the stored mask is shown"
    assert np.mean(opacity[~mask] > 0.2) < 0.03, "nothing else is coloured"
    assert np.mean(opacity[truth] > 0.2) > 0.6, "the sky is coloured"
    assert np.mean(opacity[~truth] > 0.2) < 0.4, "what is no sky is mostly not"


def _log_in(browser: webdriver.Chrome, session: Session) -> None:
    browser.get(f"{session.label_studio.url}/user/login/")
    browser.find_element(By.NAME, "email").send_keys(session.label_studio.login.email)
    browser.find_element(By.NAME, "password").send_keys(session.label_studio.login.password)
    browser.find_element(By.CSS_SELECTOR, "button[type=submit]").click()
    WebDriverWait(browser, _SETTLE_S).until(lambda page: "/user/login" not in page.current_url)


def _settled_opacity(browser: webdriver.Chrome, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Wait until a mask is drawn, which happens some time after the image, and return its opacity."""
    WebDriverWait(browser, _SETTLE_S).until(lambda page: page.find_elements(By.CSS_SELECTOR, "canvas"))
    deadline = time.monotonic() + _SETTLE_S
    opacity = _label_opacity(browser, image)
    while np.mean(opacity > 0.2) < 0.01 and time.monotonic() < deadline:
        time.sleep(0.5)
        opacity = _label_opacity(browser, image)
    return opacity


def _label_opacity(browser: webdriver.Chrome, image: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return how opaquely the label's colour lies over each pixel of the image, (H, W), 0 to 1.

    From shown = (1 - opacity) * image + opacity * colour, solved for the opacity by least squares.
    """
    shown = _shown_image(browser, (image.shape[1], image.shape[0])).astype(float)
    towards_colour = np.array(ImageColor.getrgb(_MAGENTA), dtype=float) - image
    change = ((shown - image) * towards_colour).sum(axis=-1)
    return np.clip(change / (towards_colour**2).sum(axis=-1), 0, 1)


def _shown_image(browser: webdriver.Chrome, size_wh: tuple[int, int]) -> NDArray[np.uint8]:
    """Cut the labelled image out of a screenshot and scale it to its own size."""
    box = _image_element(browser).rect
    screenshot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    edges = (box["x"], box["y"], box["x"] + box["width"], box["y"] + box["height"])
    return np.asarray(screenshot.crop(tuple(map(round, edges))).resize(size_wh))


def _image_element(browser: webdriver.Chrome) -> WebElement:
    """Return the picture being labelled; the task list shows it too, but small."""
    return max(browser.find_elements(By.TAG_NAME, "img"), key=lambda element: element.rect["width"])

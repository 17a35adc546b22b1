"""The steps that README describes for the smart tools, done in a headless Chromium: a click becomes a mask."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from backend.demo.project import DemoScene, write_images
from backend.demo.session import Session
from converters.encodings.brush import brush_rle_to_mask
from ovdiff.tinyworld.world import NAMES
from tests.end_to_end.editor import SETTLE_S, largest_image_box, open_task, press

pytestmark = [pytest.mark.end_to_end, pytest.mark.browser]

_SCENE = DemoScene(111, things=1)  # a large yellow balloon in the sky
_SIZE_PX = 512
_CONFIG = """
<View>
  <Image name="image" value="$image"/>
  <BrushLabels name="label" toName="image"><Label value="balloon"/></BrushLabels>
  <KeyPointLabels name="click" toName="image" smart="true"><Label value="balloon" hotkey="2"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="balloon" hotkey="3"/></RectangleLabels>
</View>
"""
_MASK_DRAWN = "[class*=outliner-item]"  # the list of regions has an entry


def _click_at(browser: webdriver.Chrome, x: float, y: float) -> None:
    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.w3c_actions.pointer_action.click()
    actions.perform()


def test_a_click_with_the_smart_keypoint_becomes_the_mask_under_it(
    session: Session, browser: webdriver.Chrome, tmp_path: Path
) -> None:
    maker = session.maker
    project = maker.ensure_project("Smart tools", _CONFIG, write_images([_SCENE], tmp_path, _SIZE_PX))
    maker.connect(project)
    (record,) = maker.api.backends(project)
    switch = {"url": record["url"], "project": project, "is_interactive": True}
    maker.api.call("PATCH", f"/api/ml/{record['id']}", json=switch)  # "Interactive preannotations" in the settings
    session.backend.wait_for_prototypes(project, maker.console)
    (task,) = maker.predict(project)

    open_task(browser, session, project, task.id)
    press(browser, "[data-testid=bottombar-auto-annotation-toggle]")
    press(browser, _MASK_DRAWN)  # the predicted mask is deleted: a click on a region would choose it
    ActionChains(browser).send_keys(Keys.BACKSPACE).perform()
    ActionChains(browser).send_keys("2").perform()
    press(browser, '.lsf-tool_smart[aria-label="key-point-tool"]')
    truth = _SCENE.render(_SIZE_PX).label_map == NAMES.index("balloon")
    middle_y, middle_x = (float(np.mean(indices)) / _SIZE_PX for indices in np.nonzero(truth))
    left, top, width, height = largest_image_box(browser)
    _click_at(browser, left + middle_x * width, top + middle_y * height)
    press(browser, "[data-testid=bottombar-accept-suggestions-button]")
    press(browser, "[data-testid=bottombar-submit-button]")

    (region,) = _submitted(session, task.id)
    mask = brush_rle_to_mask(region["value"]["rle"], size_hw=(_SIZE_PX, _SIZE_PX))
    assert region["type"] == "brushlabels"
    assert (mask & truth).sum() / (mask | truth).sum() > 0.8


def _submitted(session: Session, task: int) -> list[dict[str, Any]]:
    """Wait for the annotation of a task, and return its regions."""
    deadline = time.monotonic() + SETTLE_S
    while time.monotonic() < deadline:
        annotations = session.maker.api.call("GET", f"/api/tasks/{task}/annotations")
        if annotations:
            return list(annotations[-1]["result"])
        time.sleep(0.5)
    pytest.fail(f"No annotation was submitted within {SETTLE_S:.0f} s.")

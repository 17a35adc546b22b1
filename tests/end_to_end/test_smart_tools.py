"""The steps that README describes for the smart tools, done in a headless Chromium: a click becomes a mask."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver

from backend.demo.project import DemoScene, write_images
from backend.demo.session import Session
from converters.encodings.brush import brush_rle_to_mask
from ovdiff.tinyworld.world import NAMES
from tests.end_to_end.editor import (
    SETTLE_S,
    SMART_POINT,
    click_at,
    delete_region,
    open_task,
    press,
    switch_on_auto_annotation,
    type_keys,
)

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
    switch_on_auto_annotation(browser)
    delete_region(browser, "balloon")  # the predicted mask: a click on a region would choose it
    type_keys(browser, "2")
    press(browser, SMART_POINT)
    truth = _SCENE.render(_SIZE_PX).label_map == NAMES.index("balloon")
    middle_y, middle_x = (float(np.mean(indices)) / _SIZE_PX for indices in np.nonzero(truth))
    click_at(browser, middle_x, middle_y)
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

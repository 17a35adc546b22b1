"""The project of the walk (`test_walk.py`), and what Label Studio, the browser and the backend's files tell of it."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ImageColor
from selenium import webdriver

from backend.demo.api import LabelStudioApi, StoredTask
from backend.demo.backend_server import BackendServer
from backend.demo.project import BRUSH_TAG, IMAGE_TAG, DemoScene
from backend.demo.session import Session
from backend.demo.stored import label_map, read_predictions
from tests.end_to_end.editor import REGION, SETTLE_S, show_task, wait_for
from tests.end_to_end.seen_masks import seen_labels, shown_image
from tests.fakes.waiting import eventually

SCENES = tuple(map(DemoScene, (26, 22, 42, 73, 82)))
"""Scenes with water."""
SIZE_PX = 512
COLOURS = {"boat": "#e6194b", "water": "#7a1fd6", "sky": "#00c27a"}
"""The labels, in colours that the scenes do not have, so that they are told apart in a screenshot."""
NAMES = tuple(COLOURS)
KEYS = {"boat": "7", "water": "8", "sky": "9"}
"""The hotkeys of the smart keypoints' labels; those of the brushes are 1, 2 and 3."""
CONFIG = (
    f'<View learn="yes"><Image name="{IMAGE_TAG}" value="$image" zoom="true"/>'
    f'<BrushLabels name="{BRUSH_TAG}" toName="{IMAGE_TAG}">'
    + "".join(f'<Label value="{name}" background="{colour}"/>' for name, colour in COLOURS.items())
    + f'</BrushLabels><KeyPointLabels name="click" toName="{IMAGE_TAG}" smart="true">'
    + "".join(f'<Label value="{name}" background="{COLOURS[name]}" hotkey="{key}"/>' for name, key in KEYS.items())
    + "</KeyPointLabels></View>"
)
_COLOURS_RGB = np.array([ImageColor.getrgb(colour) for colour in COLOURS.values()], dtype=np.float64)

Labels = NDArray[np.int32]
"""A label map (H, W): 0 for background, else 1 + the index of the label in NAMES."""


@dataclass(frozen=True)
class Walk:
    """Where the walk is: the browser, both servers, and the project with its tasks."""

    browser: webdriver.Chrome
    session: Session
    backend: BackendServer
    project: int
    tasks: tuple[StoredTask, ...]

    @property
    def api(self) -> LabelStudioApi:
        return self.session.maker.api

    def version(self) -> str:
        """Return the model version that the backend answers to Label Studio now."""
        return str(self.api.backends(self.project)[0]["model_version"])

    def contents(self, version: str, but: StoredTask | None = None) -> dict[int, tuple[Any, ...]]:
        """Return what each task's prediction says, which must be the only one, and of this version; but of one task."""
        found = {task.id: self.api.predictions(task.id) for task in self.tasks if task != but}
        kept = Counter(tuple(each["model_version"] for each in predictions) for predictions in found.values())
        assert kept == {(version,): len(found)}, kept
        return {task: (one["result"], one["score"]) for task, (one,) in found.items()}

    def labels(self, task: StoredTask) -> Labels:
        """Return the label map of the newest prediction of a task."""
        (stored,) = read_predictions(self.api, self.project, [task])
        return label_map(stored.predictions[-1].regions, NAMES, (SIZE_PX, SIZE_PX))

    def truth(self, task: StoredTask, name: str) -> NDArray[np.bool_]:
        """Return where a label truly is in a task."""
        return _scene(task).render(SIZE_PX).mask(name)

    def open(self, task: StoredTask) -> None:
        """Open a task in the editor, and wait for its regions."""
        show_task(self.browser, self.session, self.project, task.id)
        wait_for(self.browser, REGION)

    def seen(self, task: StoredTask, labels: Labels) -> Labels:
        """Return the labels that are seen in the editor, as soon as most of them are those of a label map."""
        image = _scene(task).render(SIZE_PX).image
        found: list[Labels] = []

        def is_shown() -> bool:
            picture = shown_image(self.browser, (SIZE_PX, SIZE_PX))
            if picture is not None:
                found.append(seen_labels(picture, image, _COLOURS_RGB).astype(np.int32))
            return bool(found) and float(np.mean(found[-1] == labels)) > 0.9

        if not eventually(is_shown, SETTLE_S):
            share = np.mean(found[-1] == labels) if found else 0.0
            pytest.fail(f"Task {task.id} shows {share:.0%} of its labels after {SETTLE_S:.0f} s.")
        return found[-1]

    def bank(self) -> dict[str, str]:
        """Return the files of the backend's bank, but for the encodings of images, with the hash of each."""
        folder = self.backend.folder / "bank"
        files = [path for path in folder.rglob("*") if path.is_file() and "encodings" not in path.parts]
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _scene(task: StoredTask) -> DemoScene:
    return next(scene for scene in SCENES if scene.file_name == task.file_name)

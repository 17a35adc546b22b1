"""The demo's second project in memory: every prediction is the truth, unless a test spoils it."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backend.demo.api import StoredTask
from backend.demo.console import Console
from backend.demo.few_words import SCENES, WORDS
from backend.demo.project import BRUSH_TAG, IMAGE_TAG, DemoScene, label_config
from backend.demo.session import Session
from converters.encodings.brush import mask_to_brush_rle

PROJECT, SIZE_PX = 9, 96
Spoil = Callable[[DemoScene, NDArray[np.int32]], NDArray[np.int32]]


@dataclass
class FewWordsStudio:
    """Label Studio, its backend and the maker of projects, as the second project uses them.

    Attributes:
        spoil: maps a scene and its true label map to the one that is predicted.
        labels: what the project asks for; a person may have added some.
        asked: what was asked of it, in order.
    """

    spoil: Spoil = lambda scene, truth: truth
    labels: Sequence[str] = WORDS
    asked: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    stored: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    console: Console = field(default_factory=lambda: Console(io.StringIO()))

    def session(self) -> Session:
        """Return it as a session."""
        return Session(None, self, self)  # type: ignore[arg-type]  # fakes, and no process

    @property
    def api(self) -> "FewWordsStudio":
        return self

    def ensure_project(self, title: str, config: str, images: Sequence[Path]) -> int:
        self.asked.append(config)
        self.names += [path.name for path in images]
        return PROJECT

    def connect(self, project: int) -> None:
        self.asked.append("connect")

    def wait_for_prototypes(self, project: int, console: Console) -> None:
        self.asked.append("wait")

    def predict(self, project: int) -> None:
        """Store one prediction for each task; images that a person added get none."""
        self.asked.append("predict")
        scenes = {scene.file_name: scene for scene in SCENES}
        for task in self.tasks(project):
            if task.file_name in scenes:
                painted = self.spoil(scenes[task.file_name], _truth(scenes[task.file_name]))
                self.stored[task.id] = [{"id": task.id, "model_version": "v1", "result": self._regions(painted)}]

    def tasks(self, project: int) -> list[StoredTask]:
        return [StoredTask(number, name, f"/data/{name}") for number, name in enumerate(self.names)]

    def backends(self, project: int) -> list[dict[str, Any]]:
        return [{"model_version": "v1"}]

    def label_config(self, project: int) -> str:
        return label_config(self.labels)

    def predictions(self, task: int) -> list[dict[str, Any]]:
        return self.stored.get(task, [])

    def _regions(self, painted: NDArray[np.int32]) -> list[dict[str, Any]]:
        return [
            {
                "id": f"r{number}",
                "from_name": BRUSH_TAG,
                "to_name": IMAGE_TAG,
                "type": "brushlabels",
                "original_width": SIZE_PX,
                "original_height": SIZE_PX,
                "image_rotation": 0,
                "value": {
                    "format": "rle",
                    "rle": mask_to_brush_rle(painted == number),
                    "brushlabels": [self.labels[number - 1]],
                },
            }
            for number in np.unique(painted[painted > 0])
        ]


def _truth(scene: DemoScene) -> NDArray[np.int32]:
    rendering, truth = scene.render(SIZE_PX), np.zeros((SIZE_PX, SIZE_PX), dtype=np.int32)
    for number, word in enumerate(WORDS, start=1):
        truth[rendering.mask(word)] = number
    return truth


def with_umbrella_in(*numbers: int) -> Spoil:
    """Return a spoiler that paints an umbrella into the upper left corner of the scenes with these numbers."""

    def spoil(scene: DemoScene, truth: NDArray[np.int32]) -> NDArray[np.int32]:
        if scene.index in numbers:
            truth[:20, :20] = WORDS.index("umbrella") + 1
        return truth

    return spoil

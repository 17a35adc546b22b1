"""A demo whose Label Studio and backend are in memory: every prediction is the truth, unless a test spoils it."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from backend.demo.api import StoredTask
from backend.demo.backend_server import CategoryStatus
from backend.demo.checks import Demo, truth_label_map
from backend.demo.console import Console
from backend.demo.engines import Abilities
from backend.demo.project import BRUSH_TAG, IMAGE_TAG, DemoScene, choose_scenes, demo_labels, label_config
from backend.demo.report import Report
from backend.demo.session import Session
from converters.encodings.brush import mask_to_brush_rle
from converters.label_studio.label_config import parse_label_config
from ovdiff.vocabulary import Category
from tests.fakes.engine import FakeEngine

SIZE_PX = 512
PROJECT, PHOTOGRAPHS = 1, 2
FIRST_ENGINE, SECOND_ENGINE = Abilities(), Abilities(makes_prototypes=False, finds_objects=True)


@dataclass
class MemoryStudio:
    """Label Studio and what makes projects in it, both as the demo's checks use them.

    Attributes:
        backend: makes the prototypes of the labels.
        scenes: the images of the project.
        spoil: maps a task's true label map to the one that is predicted.
        unturned: photographs that are predicted as their pixels are stored, whatever EXIF says.
        in_export: maps a submitted label map to the one that comes back in the export.
    """

    backend: "MemoryBackend"
    scenes: Sequence[DemoScene]
    spoil: Any = None
    unturned: frozenset[str] = frozenset()
    in_export: Any = None
    config: str = field(default_factory=lambda: label_config(demo_labels()))
    version: str = "v1"
    images: dict[str, bytes] = field(default_factory=dict)
    projects: dict[int, list[StoredTask]] = field(default_factory=dict)
    stored: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    submitted: dict[int, dict[str, Any]] = field(default_factory=dict)
    console: Console = field(default_factory=lambda: Console(io.StringIO()))

    @property
    def api(self) -> "MemoryStudio":
        return self

    def add_task(self, project: int, file_name: str, image: bytes) -> None:
        number = len(self.images) + 1
        path = f"/data/upload/{project}/01234567-{file_name}"
        self.images[path] = image
        self.projects.setdefault(project, []).append(StoredTask(number, file_name, path))
        self.stored[number] = []

    def tasks(self, project: int) -> list[StoredTask]:
        return self.projects[project]

    def download(self, image: str) -> bytes:
        return self.images[image]

    def label_config(self, project: int) -> str:
        return self.config

    def set_label_config(self, project: int, config: str) -> None:
        self.config, self.version = config, "v2"

    def backends(self, project: int) -> list[dict[str, Any]]:
        return [{"model_version": self.version}]

    def predictions(self, task: int) -> list[dict[str, Any]]:
        return self.stored[task]

    def create_annotation(self, task: int, result: Sequence[dict[str, Any]], prediction: int) -> int:
        self.submitted[task] = {"id": task, "result": list(result), "parent_prediction": prediction}
        return task

    def export_json(self, project: int) -> list[dict[str, Any]]:
        exported = []
        for task in self.tasks(project):
            if task.id in self.submitted:
                annotation = self.submitted[task.id]
                if self.in_export is not None:
                    annotation = annotation | {"result": self.in_export(annotation["result"])}
                exported.append({"id": task.id, "data": {"image": task.image}, "annotations": [annotation]})
        return exported

    def ensure_project(self, title: str, config: str, images: Sequence[Path]) -> int:
        for path in images:
            self.add_task(PHOTOGRAPHS, path.name, path.read_bytes())
        return PHOTOGRAPHS

    def connect(self, project: int) -> None:
        """Nothing is to be connected in memory."""

    def predict(self, project: int) -> list[StoredTask]:
        """Store one prediction of the current version for each task."""
        for task in self.tasks(project):
            truth = self._truth(project, task)
            if truth is not None and self.spoil is not None:
                truth = self.spoil(truth)
            if truth is not None:
                number = 100 * task.id + len(self.stored[task.id])
                prediction = {"id": number, "model_version": self.version, "result": regions(truth), "score": 0.5}
                self.stored[task.id].append(prediction)
        return self.tasks(project)

    def _truth(self, project: int, task: StoredTask) -> NDArray[np.int32] | None:
        if project == PROJECT:
            scene = next(scene for scene in self.scenes if scene.file_name == task.file_name)
            return truth_label_map(scene, SIZE_PX)
        stored = Image.open(io.BytesIO(self.images[task.image]))
        shown = stored if task.file_name in self.unturned else ImageOps.exif_transpose(stored)
        return (np.asarray(shown.convert("L")) > 127).astype(np.int32)  # the bright parts, so that turning matters


@dataclass
class MemoryBackend:
    """Makes prototypes of the labels that the project's config has, in a real bank.

    Attributes:
        makes_prototypes: whether it does; else every label is ready at once.
        slow: the labels that are not ready at once all the same.
    """

    folder: Path
    names: list[str] = field(default_factory=list)
    makes_prototypes: bool = True
    slow: frozenset[str] = frozenset()
    studio: MemoryStudio | None = None

    def built(self) -> list[str]:
        return list(self.names)

    def categories(self, project: int) -> list[CategoryStatus]:
        """Return the state of each label."""
        waiting = self.slow if not self.makes_prototypes else {*self._labels()} - {*self.names}
        return [
            CategoryStatus(name, "queued" if name in waiting else "ready", "", 0.0, "", "", "")
            for name in self._labels()
        ]

    def _labels(self) -> tuple[str, ...]:
        assert self.studio is not None
        return parse_label_config(self.studio.config).control(BRUSH_TAG).label_values

    def wait_for_prototypes(self, project: int, console: Console) -> None:
        for name in self._labels() if self.makes_prototypes else ():
            if name not in self.names:
                FakeEngine(self.folder / "bank").build(Category(name))
                self.names.append(name)


def regions(label_map: NDArray[np.int32]) -> list[dict[str, Any]]:
    """Return a brush region for each label of a label map, numbered as the demo's labels."""
    height, width = label_map.shape
    return [
        {
            "id": f"r{number}",
            "from_name": BRUSH_TAG,
            "to_name": IMAGE_TAG,
            "type": "brushlabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {
                "format": "rle",
                "rle": mask_to_brush_rle(label_map == number),
                "brushlabels": [demo_labels()[number - 1]],
            },
        }
        for number in np.unique(label_map[label_map > 0])
    ]


def demo_in_memory(folder: Path, count: int = 2, abilities: Abilities = FIRST_ENGINE) -> tuple[Demo, MemoryStudio]:
    """Return a finished demo of a few scenes, all predicted as they are, and its Label Studio."""
    scenes, backend = choose_scenes(count), MemoryBackend(folder, makes_prototypes=abilities.makes_prototypes)
    studio = MemoryStudio(backend, scenes)
    backend.studio = studio
    for scene in scenes:
        data = io.BytesIO()
        Image.fromarray(scene.render(SIZE_PX).image).save(data, "PNG")
        studio.add_task(PROJECT, scene.file_name, data.getvalue())
    backend.wait_for_prototypes(PROJECT, studio.console)
    studio.predict(PROJECT)
    session: Any = Session(None, backend, studio)  # type: ignore[arg-type]  # fakes, and no process
    return Demo(session, PROJECT, scenes, folder, folder / "sheet" / "demo.png", Report(), abilities), studio

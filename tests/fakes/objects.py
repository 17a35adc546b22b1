"""The projects of the object checks in memory: every object is a region, unless a test spoils it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backend.demo import object_checks
from backend.demo.api import StoredTask
from backend.demo.checks import Demo
from backend.demo.loop.annotator import true_regions, true_segments
from backend.demo.project import DemoScene, demo_labels, label_config
from backend.demo.report import Report
from backend.demo.session import Session
from converters.metrics.panoptic_quality import SegmentMap
from tests.fakes.demo_project import SECOND_ENGINE

PROJECT, TWINS = 1, 5
SCENES = (DemoScene(4),)


@dataclass
class ObjectsStudio:
    """Label Studio and the maker of projects, as the object checks use them.

    Attributes:
        spoil: maps the true segments of a project's task to those that are predicted.
        connected: the projects that were connected.
    """

    spoil: Callable[[int, SegmentMap], SegmentMap] = lambda project, truth: truth
    scenes: dict[int, Sequence[DemoScene]] = field(default_factory=lambda: {PROJECT: SCENES})
    connected: list[int] = field(default_factory=list)
    stored: dict[int, list[dict[str, Any]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Predict the project that is there."""
        self.predict(PROJECT)

    def demo(self, folder: Path) -> Demo:
        """Return the finished demo."""
        session = Session(None, None, self)  # type: ignore[arg-type]  # fakes, and no process
        return Demo(session, PROJECT, SCENES, folder, folder / "sheet.png", Report(), SECOND_ENGINE)

    @property
    def api(self) -> "ObjectsStudio":
        return self

    def ensure_project(self, title: str, config: str, images: Sequence[Path]) -> int:
        self.scenes[TWINS] = [
            scene for scene in object_checks.TWIN_SCENES if scene.file_name in {path.name for path in images}
        ]
        return TWINS

    def connect(self, project: int) -> None:
        self.connected.append(project)

    def predict(self, project: int) -> None:
        """Store one prediction for each task."""
        for task, scene in zip(self.tasks(project), self.scenes[project], strict=True):
            found = self.spoil(project, true_segments(scene, demo_labels(), object_checks.SIZE_PX))
            result = true_regions(found, demo_labels())
            self.stored[task.id] = [{"id": task.id, "model_version": "v1", "result": result}]

    def tasks(self, project: int) -> list[StoredTask]:
        names = [scene.file_name for scene in self.scenes[project]]
        return [StoredTask(100 * project + number, name, f"/data/{name}") for number, name in enumerate(names)]

    def backends(self, project: int) -> list[dict[str, Any]]:
        return [{"model_version": "v1"}]

    def label_config(self, project: int) -> str:
        return label_config(demo_labels())

    def predictions(self, task: int) -> list[dict[str, Any]]:
        return self.stored.get(task, [])

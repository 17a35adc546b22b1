"""The demo's Label Studio project: its labels, its images, and the steps from nothing to predictions.

Every step compares the project in Label Studio with the wanted project and adds the missing parts. So the next run
continues a run that was interrupted, and a run on a finished project does nothing twice.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from math import fsum
from pathlib import Path
from xml.sax.saxutils import quoteattr

from PIL import Image

from backend.demo.api import LabelStudioApi, StoredTask
from backend.demo.backend_server import BackendServer
from backend.demo.console import Console
from backend.demo.errors import DemoError
from backend.demo.steps import ALL_MASKS, FIRST_MASKS
from ovdiff.tinyworld.world import NAMES, STUFF, THINGS, Rendering, render, sample_scene

PROJECT_TITLE = "OVDiff demo: tiny world"
BACKEND_TITLE = "OVDiff"
IMAGE_TAG = "image"
BRUSH_TAG = "label"

LABEL_COLOURS = {
    "ball": "#e6194b",
    "car": "#9a1fd6",
    "house": "#a0522d",
    "tree": "#1b7a2f",
    "boat": "#7a3b12",
    "fish": "#ff7f0e",
    "bird": "#3d348b",
    "balloon": "#ff2fa0",
    "mug": "#00a6a6",
    "umbrella": "#c71585",
    "mushroom": "#b22222",
    "clock": "#f2e205",
    "sky": "#7ec8f5",
    "grass": "#7ac943",
    "sand": "#e2c277",
    "water": "#1e66d0",
    "wall": "#c9a99a",
    "snow": "#d5e8f7",
    "road": "#5c5c62",
}
"""A colour for each label. Stuff has its natural colour; things have dark or bright colours that stand out from it."""

_CANDIDATES_PER_SCENE = 5
_THINGS_PER_SCENE = 3
_CHOOSING_SIZE_PX = 64
_PREDICTIONS_PER_REQUEST = 4


@dataclass(frozen=True)
class DemoScene:
    """A test scene of the tiny world: its number in the test split, and how many things are placed in it."""

    index: int
    things: int = _THINGS_PER_SCENE

    @property
    def file_name(self) -> str:
        """The name under which the image of the scene is uploaded."""
        return f"scene-{self.index:04d}.png"

    def render(self, size_px: int) -> Rendering:
        """Draw the scene: an image (S, S, 3) uint8 and a label map (S, S) with indices into the tiny world's NAMES."""
        return render(sample_scene(self.index, "test", things=self.things), size_px)


def choose_scenes(count: int) -> list[DemoScene]:
    """Choose test scenes that show two or more different things each, and that together show all labels evenly.

    The choice is greedy and deterministic: the next scene is the one whose labels are rarest in those chosen so far.
    `fsum`, unlike `sum`, does not depend on the order of a set, which is another one in each process.
    """
    candidates = {index: _visible_names(DemoScene(index)) for index in range(count * _CANDIDATES_PER_SCENE)}
    candidates = {i: names for i, names in candidates.items() if len(names & set(THINGS)) >= 2}
    seen: Counter[str] = Counter()
    chosen: list[int] = []
    for _ in range(min(count, len(candidates))):
        best = max(candidates, key=lambda i: (fsum(1 / (1 + seen[name] ** 2) for name in candidates[i]), -i))
        seen.update(candidates.pop(best))
        chosen.append(best)
    return [DemoScene(index) for index in sorted(chosen)]


@cache
def _visible_names(scene: DemoScene) -> frozenset[str]:
    return frozenset(scene.render(_CHOOSING_SIZE_PX).visible()) & {*THINGS, *STUFF}


def write_images(scenes: Iterable[DemoScene], folder: Path, size_px: int) -> list[Path]:
    """Draw the scenes into PNG files of ``size_px`` squared and return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for scene in scenes:
        paths.append(folder / scene.file_name)
        Image.fromarray(scene.render(size_px).image).save(paths[-1])
    return paths


def label_config(names: Sequence[str]) -> str:
    """Return a label config with a brush for each name."""
    labels = "\n".join(f"    <Label {_label_attributes(name)}/>" for name in names)
    return (
        "<View>\n"
        f'  <Image name="{IMAGE_TAG}" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="{BRUSH_TAG}" toName="{IMAGE_TAG}">\n{labels}\n  </BrushLabels>\n'
        "</View>"
    )


def _label_attributes(name: str) -> str:
    colour = LABEL_COLOURS.get(name)
    return f"value={quoteattr(name)}" + (f' background="{colour}"' if colour else "")


def demo_labels() -> list[str]:
    """Return the labels of the demo: the things and the stuff of the tiny world that have a colour here."""
    return [name for name in NAMES if name in LABEL_COLOURS]


@dataclass(frozen=True)
class ProjectMaker:
    """Makes projects in one Label Studio, pre-labelled by one backend."""

    api: LabelStudioApi
    backend: BackendServer
    console: Console

    def ensure_project(self, title: str, config: str, images: Sequence[Path]) -> int:
        """Return the id of the project with this title; the project and the tasks of its images are made if missing."""
        project = self.api.find_project(title)
        if project is None:
            project = self.api.create_project(title, config)
        present = {task.file_name for task in self.api.tasks(project)}
        missing = [path for path in images if path.name not in present]
        if missing:
            self.api.upload_images(project, missing)
        self.console.say(f"Project {project} ({title}): {len(images)} images, {len(missing)} of them new.")
        return project

    def connect(self, project: int) -> None:
        """Connect the backend to a project. Label Studio then calls /setup, and the backend begins to make prototypes.

        Raises:
            DemoError: Label Studio cannot reach the backend.
        """
        record = self.api.connect_backend(project, self.backend.url, BACKEND_TITLE)
        if record["state"] != "CO":
            raise DemoError(
                f"Label Studio calls the backend at {self.backend.url} {record['readable_state']!r}, "
                f"not connected: {record['error_message']}"
            )

    def predict(self, project: int, tasks: Sequence[StoredTask] | None = None) -> list[StoredTask]:
        """Have tasks predicted, all of them by default, a few at a time, and return the tasks.

        Label Studio gives the backend 100 s for all tasks of one request. Small requests stay below that limit, and
        the progress can be shown between them.
        """
        tasks = self.api.tasks(project) if tasks is None else list(tasks)
        for start in range(0, len(tasks), _PREDICTIONS_PER_REQUEST):
            some = tasks[start : start + _PREDICTIONS_PER_REQUEST]
            self.api.retrieve_predictions(project, [task.id for task in some])
            self.console.steps.end(FIRST_MASKS)
            self.console.progress(f"pre-labelled {start + len(some)} of {len(tasks)} images")
        self.console.steps.end(ALL_MASKS)
        self.console.end_progress()
        return tasks

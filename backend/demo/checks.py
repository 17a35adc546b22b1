"""The checks of a finished demo: each function checks one promise and adds rows to a report.

The checks do not trust the answers of Label Studio or the backend. They count and decode the predictions, annotations
and prototype sets that are stored.
"""

import io
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from pycocotools.coco import COCO

from backend.demo.api import StoredTask
from backend.demo.engines import Abilities
from backend.demo.errors import CheckError
from backend.demo.photographs import write_orientations, write_photographs
from backend.demo.project import BRUSH_TAG, IMAGE_TAG, LABEL_COLOURS, DemoScene, demo_labels, label_config
from backend.demo.report import Report
from backend.demo.session import Session
from backend.demo.sheet import Triple, contact_sheet
from backend.demo.stored import StoredPredictions, label_map, read_predictions
from converters.datasets.coco import records_to_coco, write_coco
from converters.encodings.brush import mask_to_brush_rle
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.metrics.confusion import category_ious, confusion_matrix, mean_iou
from ovdiff.bank import Bank
from ovdiff.tinyworld.world import NAMES, THINGS

ADDED_LABEL = "red ball"
NO_PROTOTYPES = "the engine makes no prototypes"
PHOTOGRAPHS_TITLE = "OVDiff demo: photographs"
LEAST_MEAN_IOU = 0.60
_LEAST_AGREEMENT = 0.9
_LEAST_SIZE_PX = 512
_CORRECTED_TASKS = 2


@dataclass(frozen=True)
class Demo:
    """A finished demo project that is being checked; ``abilities`` are those of the engine that predicted it."""

    session: Session
    project: int
    scenes: Sequence[DemoScene]
    folder: Path
    sheet: Path
    report: Report
    abilities: Abilities = field(default_factory=Abilities)

    def model_version(self, project: int) -> str:
        """Return the model version that Label Studio considers the backend's current one."""
        return str(self.session.maker.api.backends(project)[0]["model_version"])

    def bank_keys(self) -> set[str]:
        """Return the keys of all prototype sets on disk."""
        return set(Bank(self.session.backend.folder / "bank").keys())

    def scene_of(self, task: StoredTask) -> DemoScene:
        """Return the scene that a task shows."""
        return next(scene for scene in self.scenes if scene.file_name == task.file_name)

    def shown_image(self, task: StoredTask) -> Image.Image:
        """Return a task's image as Label Studio serves it and a browser shows it: EXIF applied."""
        return ImageOps.exif_transpose(Image.open(io.BytesIO(self.session.maker.api.download(task.image))))


@dataclass(frozen=True)
class _Scored:
    """A scene's stored prediction beside its truth; the label maps are numbered as in ``truth_label_map``."""

    stored: StoredPredictions
    triple: Triple

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """How many pixels of each true label (rows) were given each label (columns)."""
        return confusion_matrix(self.triple.truth, self.triple.mask, len(demo_labels()))


def truth_label_map(scene: DemoScene, size_px: int) -> NDArray[np.int32]:
    """Return a scene's true label map: 0 where the demo has no label, else 1 + the index of the label."""
    labels = demo_labels()
    numbers = np.array([labels.index(name) + 1 if name in labels else 0 for name in NAMES], dtype=np.int32)
    return numbers[scene.render(size_px).label_map]


def check_images(demo: Demo) -> None:
    """Check that all images are there, are large enough, and show several things each."""
    tasks = demo.session.maker.api.tasks(demo.project)
    smallest = min(min(demo.shown_image(task).size) for task in tasks)
    fewest = min(len(set(scene.render(128).visible()) & set(THINGS)) for scene in demo.scenes)
    demo.report.add("images in the project", len(demo.scenes), len(tasks))
    demo.report.add("shortest side", f"{_LEAST_SIZE_PX} px or more", f"{smallest} px", smallest >= _LEAST_SIZE_PX)
    demo.report.add("different things in an image", "2 or more", f"{fewest} or more", fewest >= 2)


def check_predictions(demo: Demo) -> None:
    """Check that every task has one prediction of the current version, and that its masks lie on the objects."""
    scored = _score(demo)
    counts = [len(item.stored.predictions) for item in scored]
    demo.report.add("tasks with exactly one prediction", len(demo.scenes), counts.count(1))
    confusion = np.sum([item.confusion for item in scored], axis=0)
    for name, iou in zip(("background", *demo_labels()), category_ious(confusion), strict=True):
        demo.report.add(f"IoU of {name}", "told", "not in the images" if np.isnan(iou) else f"{iou:.2f}", True)
    mean = mean_iou(confusion)
    demo.report.add("mean IoU", f"{LEAST_MEAN_IOU:.2f} or more", f"{mean:.3f}", mean >= LEAST_MEAN_IOU)
    demo.sheet.parent.mkdir(parents=True, exist_ok=True)
    contact_sheet([item.triple for item in scored], LABEL_COLOURS).save(demo.sheet, optimize=True)


def _score(demo: Demo) -> list[_Scored]:
    version = demo.model_version(demo.project)
    scored = []
    for stored in read_predictions(demo.session.maker.api, demo.project):
        image = np.asarray(demo.shown_image(stored.task).convert("RGB"))
        truth = truth_label_map(demo.scene_of(stored.task), image.shape[0])
        size_hw = image.shape[0], image.shape[1]
        mask = label_map(stored.of_version(version).regions, demo_labels(), size_hw)
        scored.append(_Scored(stored, Triple(image, truth, mask)))
    return scored


def check_corrections(demo: Demo) -> None:
    """Correct two tasks as an editor would, and check that the export, as COCO RLE, holds exactly the corrections."""
    api = demo.session.maker.api
    tasks = api.tasks(demo.project)[:_CORRECTED_TASKS]
    truths = {task.id: truth_label_map(demo.scene_of(task), demo.shown_image(task).height) for task in tasks}
    for task in tasks:
        prediction = api.predictions(task.id)[-1]
        api.create_annotation(task.id, _corrected(prediction["result"], truths[task.id]), prediction["id"])
    export = api.export_json(demo.project)
    parents = [annotation["parent_prediction"] for task in export for annotation in task["annotations"]]
    demo.report.add("tasks corrected through the API", _CORRECTED_TASKS, len(export))
    demo.report.add("corrections that name their prediction", _CORRECTED_TASKS, sum(map(bool, parents)))
    coco = _export_to_coco(export, api.label_config(demo.project), demo.folder / "export-coco.json")
    _compare(coco, {demo.scene_of(task).file_name: truths[task.id] for task in tasks}, demo.report)


def _corrected(result: Sequence[dict[str, Any]], truth: NDArray[np.int32]) -> list[dict[str, Any]]:
    """Return the regions that a perfect annotator would submit: predicted regions repaired, missing regions added."""
    predicted = {region["value"]["brushlabels"][0]: region for region in result}
    height, width = truth.shape
    regions = []
    for number in np.unique(truth[truth > 0]):
        name = demo_labels()[number - 1]
        region = predicted.get(name)
        regions.append({
            "id": region["id"] if region else f"added-{number}",
            "origin": "prediction-changed" if region else "manual",
            "from_name": BRUSH_TAG,
            "to_name": IMAGE_TAG,
            "type": "brushlabels",
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {"format": "rle", "rle": mask_to_brush_rle(truth == number), "brushlabels": [name]},
        })  # fmt: skip
    return regions


def _export_to_coco(export: Sequence[dict[str, Any]], config: str, path: Path) -> COCO:
    """Convert Label Studio's export to a COCO file with RLE, and load the file with pycocotools."""
    parsed = parse_label_config(config)
    dataset, counts = records_to_coco(tasks_to_records(export, parsed), categories_of(parsed))
    if counts.left_out:
        raise CheckError(f"The conversion to COCO left something out: {'; '.join(counts.details)}")
    write_coco(dataset, path)
    with redirect_stdout(io.StringIO()):  # pycocotools prints
        return COCO(str(path))


def _compare(coco: COCO, truths: dict[str, NDArray[np.int32]], report: Report) -> None:
    """Add a row with the number of pixels in which a COCO file and the true label maps differ."""
    differing = 0
    for image in coco.loadImgs(coco.getImgIds()):
        truth = next(truth for name, truth in truths.items() if str(image["file_name"]).endswith(name))
        found = np.zeros_like(truth)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
            name = coco.loadCats(annotation["category_id"])[0]["name"]
            found[coco.annToMask(annotation) > 0] = demo_labels().index(name) + 1
        differing += int(np.count_nonzero(found != truth))
    report.add("images in the COCO file", len(truths), len(coco.getImgIds()))
    report.add("pixels that differ after the way through COCO RLE", 0, differing)


def check_added_label(demo: Demo) -> None:
    """Check that a label added to the config costs one category at most, and that every task is predicted with it."""
    maker, backend = demo.session.maker, demo.session.backend
    keys, built, old_version = demo.bank_keys(), backend.built(), demo.model_version(demo.project)
    maker.api.set_label_config(demo.project, label_config([*demo_labels(), ADDED_LABEL]))
    maker.api.backends(demo.project)  # as opening the task list does: Label Studio tells the new labels
    states = {category.name: category.state for category in backend.categories(demo.project)}
    backend.wait_for_prototypes(demo.project, maker.console)
    if demo.abilities.makes_prototypes:
        demo.report.leave_out("the added label as soon as it is known", "prototypes come first")
        demo.report.add("categories made for an added label", [ADDED_LABEL], backend.built()[len(built) :])
        demo.report.add("new prototype sets on disk", 1, len(demo.bank_keys() - keys))
        demo.report.add("prototype sets kept", len(keys), len(demo.bank_keys() & keys))
    else:
        demo.report.add("the added label as soon as it is known", "ready", states.get(ADDED_LABEL, "unknown"))
        demo.report.leave_out("categories made for an added label", NO_PROTOTYPES)
        demo.report.leave_out("new prototype sets on disk", NO_PROTOTYPES)
        demo.report.leave_out("prototype sets kept", NO_PROTOTYPES)
    maker.predict(demo.project)
    version = demo.model_version(demo.project)
    stored = read_predictions(maker.api, demo.project)
    fresh = sum(item.of_version(version) in item.predictions for item in stored)
    demo.report.add("a version of its own for the new labels", True, version != old_version)
    demo.report.add("tasks predicted anew with them", len(demo.scenes), fresh)


def check_photographs(demo: Demo) -> None:
    """Check that photographs, and one photograph in all EXIF orientations, get regions of the size that is shown.

    Whether the regions mean anything is not checked: the embedded models know only the drawn world.
    """
    maker, backend = demo.session.maker, demo.session.backend
    folder, built = demo.folder / "photographs", backend.built()
    photographs, turned = write_photographs(folder), write_orientations(folder)
    project = maker.ensure_project(PHOTOGRAPHS_TITLE, label_config(demo_labels()), [*photographs, *turned])
    maker.connect(project)
    backend.wait_for_prototypes(project, maker.console)
    maker.predict(project)
    maps = _photograph_maps(demo, project)
    demo.report.add("photographs with masks of their size", len(photographs), _with_masks(maps, photographs))
    demo.report.add("EXIF orientations with masks as shown", len(turned), _with_masks(maps, turned))
    agreement = min(float(np.mean(maps[path.name] == maps[turned[0].name])) for path in turned)
    wanted = f"{_LEAST_AGREEMENT:.2f} or more"
    demo.report.add("agreement between orientations", wanted, f"{agreement:.3f}", agreement >= _LEAST_AGREEMENT)
    if demo.abilities.makes_prototypes:
        demo.report.add("categories made for the photographs", 0, len(backend.built()) - len(built))
    else:
        demo.report.leave_out("categories made for the photographs", NO_PROTOTYPES)


def _photograph_maps(demo: Demo, project: int) -> dict[str, NDArray[np.int32]]:
    """Return each photograph's stored label map; a region whose size is not that of the shown image is an error."""
    version = demo.model_version(project)
    maps = {}
    for stored in read_predictions(demo.session.maker.api, project):
        width, height = demo.shown_image(stored.task).size
        regions = stored.of_version(version).regions
        maps[stored.task.file_name] = label_map(regions, demo_labels(), (height, width))
    return maps


def _with_masks(maps: dict[str, NDArray[np.int32]], paths: Sequence[Path]) -> int:
    return sum(bool(maps[path.name].any()) for path in paths)

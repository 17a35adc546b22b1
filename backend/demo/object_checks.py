"""Checks that each object is a region of its own, for an engine that tells objects apart.

Panoptic quality is measured on the demo's project. A project of its own shows two of a kind in each image: there an
engine that gives a label one region can match nothing.
"""

from collections.abc import Sequence

from backend.demo.checks import Demo
from backend.demo.loop.annotator import true_segments
from backend.demo.loop.scores import figures
from backend.demo.project import DemoScene, demo_labels, label_config, write_images
from backend.demo.stored import read_predictions, segments_of
from converters.corrections.panoptic_quality import SegmentMap, match_segments
from ovdiff.tinyworld.world import THINGS

TITLE = "OVDiff demo: two of a kind"
TWIN_SCENES = tuple(DemoScene(number, things=4) for number in (1, 2, 3, 5, 6, 7, 8, 10))
"""The first test scenes with four things of which two, or twice two, are of a kind."""
LEAST_PQ = 0.60
LEAST_TWINS = 4
"""How many objects that have a twin in their image must be regions of their own; 7 of 20 are with the embedded head."""
_SIZE_PX = 512
_PQ = "panoptic quality of the regions"
_TWINS = "objects beside one of their kind, each a region"


def check_objects(demo: Demo) -> None:
    """Check the panoptic quality of the project, and that objects of one kind are regions of their own.

    Raises:
        CheckError: two regions share a pixel, or a task has no prediction of the current version.
    """
    if not demo.abilities.finds_objects:
        for check in (_PQ, _TWINS):
            demo.report.leave_out(check, "the engine's regions are labels")
        return
    truths, found = _segments(demo, demo.project, demo.scenes)
    quality = figures(truths, found, len(demo_labels())).pq
    demo.report.add(_PQ, f"{LEAST_PQ:.2f} or more", f"{quality:.3f}", quality >= LEAST_PQ)
    truths, found = _segments(demo, _make_twins(demo), TWIN_SCENES)
    matched, count = twins_found(truths, found)
    wanted = f"{LEAST_TWINS} or more"
    demo.report.add(_TWINS, wanted, f"{matched} of {count}", matched >= LEAST_TWINS)


def twins_found(truths: Sequence[SegmentMap], found: Sequence[SegmentMap]) -> tuple[int, int]:
    """Return how many objects with a twin in their image were found (IoU above .5), and how many there are."""
    labels, matched, count = demo_labels(), 0, 0
    for truth, segments in zip(truths, found, strict=True):
        for category in {number for number in truth.categories if labels[number - 1] in THINGS}:
            number = truth.categories.count(category)
            if number > 1:
                matches = match_segments(truth, segments, len(labels))
                matched += int(matches.true_positives[category - 1])
                count += number
    return matched, count


def _make_twins(demo: Demo) -> int:
    maker = demo.session.maker
    images = write_images(TWIN_SCENES, demo.folder / "twins", _SIZE_PX)
    project = maker.ensure_project(TITLE, label_config(demo_labels()), images)
    maker.connect(project)
    maker.predict(project)
    return project


def _segments(demo: Demo, project: int, scenes: Sequence[DemoScene]) -> tuple[list[SegmentMap], list[SegmentMap]]:
    """Return the true segments of each task of a project, and those that Label Studio has stored."""
    version = demo.model_version(project)
    by_name = {scene.file_name: scene for scene in scenes}
    truths, found = [], []
    for stored in read_predictions(demo.session.maker.api, project):
        truth = true_segments(by_name[stored.task.file_name], demo_labels(), _SIZE_PX)
        truths.append(truth)
        size_hw = int(truth.ids.shape[0]), int(truth.ids.shape[1])
        found.append(segments_of(stored.of_version(version).regions, demo_labels(), size_hw))
    return truths, found

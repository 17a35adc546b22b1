"""Checks that each object is a region of its own, for an engine that tells objects apart.

Panoptic quality is measured on the demo's project. Each image of a second project shows two of a kind. An engine that
gives a label one region finds at most one of such two.
"""

from collections.abc import Sequence

from backend.demo.checks import Demo
from backend.demo.loop.annotator import true_segments
from backend.demo.loop.scores import figures
from backend.demo.project import DemoScene, demo_labels, label_config, write_images
from backend.demo.stored import read_predictions, segments_of
from converters.metrics.panoptic_quality import SegmentMap, match_segments
from ovdiff.tinyworld.world import THINGS

TITLE = "OVDiff demo: two of a kind"
TWIN_SCENES = tuple(DemoScene(number, things=4) for number in (1, 2, 3, 5, 6, 7, 8, 10, 11, 13, 15, 18))
"""The first test scenes with four things of which two, or twice two, are of a kind."""
LEAST_PQ = 0.60
LEAST_PAIRS = 2
"""How many pairs must be two regions. With the embedded head, which sees small images, 3 of 14 pairs are; the
scenes are always the same, and one fewer may be the rounding of another machine."""
SIZE_PX = 512
_PQ = "panoptic quality of the regions"
_PAIRS = "pairs of a kind, both regions of their own"


def check_objects(demo: Demo) -> None:
    """Check the panoptic quality of the project, and that objects of one kind are regions of their own.

    Raises:
        CheckError: two regions share a pixel, or a task has no prediction of the current version.
    """
    if not demo.abilities.finds_objects:
        for check in (_PQ, _PAIRS):
            demo.report.leave_out(check, "the engine's regions are labels")
        return
    truths, found = _segments(demo, demo.project, demo.scenes)
    quality = figures(truths, found, len(demo_labels())).pq
    demo.report.add(_PQ, f"{LEAST_PQ:.2f} or more", f"{quality:.3f}", quality >= LEAST_PQ)
    found_pairs, count = pairs_found(*_segments(demo, _make_twins(demo), TWIN_SCENES))
    demo.report.add(_PAIRS, f"{LEAST_PAIRS} or more", f"{found_pairs} of {count}", found_pairs >= LEAST_PAIRS)


def pairs_found(truths: Sequence[SegmentMap], found: Sequence[SegmentMap]) -> tuple[int, int]:
    """Return of how many pairs both objects were found (IoU above .5), and how many pairs there are.

    Objects of a kind in one image are a pair, also if they are three.
    """
    labels, complete, count = demo_labels(), 0, 0
    for truth, segments in zip(truths, found, strict=True):
        matches = match_segments(truth, segments, len(labels))
        for category in {number for number in truth.categories if labels[number - 1] in THINGS}:
            objects = truth.categories.count(category)
            if objects > 1:
                count += 1
                complete += int(matches.true_positives[category - 1]) == objects
    return complete, count


def _make_twins(demo: Demo) -> int:
    maker = demo.session.maker
    images = write_images(TWIN_SCENES, demo.folder / "twins", SIZE_PX)
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
        truth = true_segments(by_name[stored.task.file_name], demo_labels(), SIZE_PX)
        truths.append(truth)
        size_hw = int(truth.ids.shape[0]), int(truth.ids.shape[1])
        found.append(segments_of(stored.of_version(version).regions, demo_labels(), size_hw))
    return truths, found

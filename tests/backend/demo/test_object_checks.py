from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.demo import object_checks
from backend.demo.engines import Abilities
from backend.demo.errors import CheckError
from backend.demo.loop.annotator import true_segments
from backend.demo.object_checks import TWIN_SCENES, check_objects, pairs_found
from backend.demo.project import DemoScene, demo_labels
from converters.metrics.panoptic_quality import SegmentMap
from ovdiff.tinyworld.world import THINGS
from tests.fakes.objects import PROJECT, TWINS, ObjectsStudio

BALL = demo_labels().index("ball") + 1
QUALITY, TOGETHER = "panoptic quality of the regions", "pairs of a kind, both regions of their own"


@pytest.fixture(autouse=True)
def small_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_checks, "SIZE_PX", 128)


def one_region_a_label(project: int, truth: SegmentMap) -> SegmentMap:
    """Join the regions of each label, as an engine does that tells no objects apart."""
    categories = sorted(set(truth.categories))
    number_of = np.array([0, *(categories.index(category) + 1 for category in truth.categories)])
    return SegmentMap(number_of[truth.ids], tuple(categories))


def as_balls(project: int, truth: SegmentMap) -> SegmentMap:
    """Call everything of the first project a ball."""
    return SegmentMap(truth.ids, (BALL,) * len(truth.categories)) if project == PROJECT else truth


def test_true_objects_pass(tmp_path: Path) -> None:
    studio = ObjectsStudio()
    demo = studio.demo(tmp_path)
    check_objects(demo)
    assert studio.connected == [TWINS]
    assert [(row.check, row.found, row.passed) for row in demo.report.rows] == [
        (QUALITY, "1.000", True),
        (TOGETHER, "14 of 14", True),
    ]


@pytest.mark.parametrize(("spoil", "failed"), [(one_region_a_label, [TOGETHER]), (as_balls, [QUALITY])])
def test_objects_in_one_region_and_wrong_names_are_noticed(spoil: object, failed: list[str], tmp_path: Path) -> None:
    demo = ObjectsStudio(spoil).demo(tmp_path)  # type: ignore[arg-type]
    check_objects(demo)
    assert [row.check for row in demo.report.failures] == failed


def test_regions_that_share_pixels_are_an_error(tmp_path: Path) -> None:
    studio = ObjectsStudio()
    (prediction,) = studio.stored[100 * PROJECT]
    prediction["result"].append(prediction["result"][0] | {"id": "again"})
    with pytest.raises(CheckError, match="shares pixels with another one"):
        check_objects(studio.demo(tmp_path))


def test_an_engine_that_gives_a_label_one_region_is_not_asked_for_objects(tmp_path: Path) -> None:
    studio = ObjectsStudio()
    demo = replace(studio.demo(tmp_path), abilities=Abilities())
    check_objects(demo)
    assert studio.connected == [] == demo.report.failures
    assert [row.check for row in demo.report.left_out] == [QUALITY, TOGETHER]


def test_the_scenes_are_the_first_that_show_two_of_a_kind() -> None:
    def shows_twins(scene: DemoScene) -> bool:
        counts = Counter(true_segments(scene, demo_labels(), 128).categories)
        return any(count > 1 and demo_labels()[number - 1] in THINGS for number, count in counts.items())

    candidates = [DemoScene(number, things=4) for number in range(TWIN_SCENES[-1].index + 1)]
    assert tuple(filter(shows_twins, candidates)) == TWIN_SCENES


def test_both_objects_of_a_pair_must_be_found() -> None:
    truth = SegmentMap(np.array([[1, 2, 3]]), (BALL, BALL, BALL + 1))
    assert pairs_found([truth], [truth]) == (1, 1)
    assert pairs_found([truth], [SegmentMap(np.array([[1, 0, 2]]), (BALL, BALL + 1))]) == (0, 1)
    alone = SegmentMap(np.array([[1, 2]]), (BALL, BALL + 1))
    assert pairs_found([alone], [alone]) == (0, 0)

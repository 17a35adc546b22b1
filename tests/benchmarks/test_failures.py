import io
from typing import Any, cast

import numpy as np

from benchmarks.asked_words import SceneWord
from benchmarks.drawn_world import Scenes
from benchmarks.failures import Failure, draw_failures, failures, fault, worst_answers
from ovdiff import Engine, Segmentation, Vocabulary
from ovdiff.tinyworld.world import NAMES, render, sample_scene


def word(scene: int, name: str, *, truth: float, painted: float, iou: float = 0.0) -> SceneWord:
    return SceneWord(truth, painted, iou, 0.7, scene, ("boat", "sky"), name)


PERFECT = [word(1, "boat", truth=0.2, painted=0.2, iou=1.0), word(1, "sky", truth=0.5, painted=0.5, iou=1.0)]
INVENTED = [word(2, "boat", truth=0, painted=0.13), word(2, "sky", truth=0.5, painted=0.5, iou=1.0)]
MISSED = [word(3, "boat", truth=0.3, painted=0), word(3, "sky", truth=0.5, painted=0.5, iou=0.9)]


def test_what_is_wrong_with_a_word_is_said() -> None:
    assert fault(INVENTED[0]) == "boat 0.70 is not there, 13% painted"
    assert fault(MISSED[0]) == "boat is missed, 30% of the scene"
    assert fault(word(1, "boat", truth=0.2, painted=0.2, iou=0.25)) == "boat 0.70 has IoU 0.25"
    assert [fault(each) for each in PERFECT] == [None, None]


def test_the_worst_answers_come_first_each_scene_once_and_none_without_a_fault() -> None:
    milder = [word(3, "sky", truth=0.5, painted=0.001)]
    other = [SceneWord(each.truth, each.painted, each.iou, 0.7, 3, ("sky",), each.name) for each in milder]
    assert worst_answers([*PERFECT, *INVENTED, *MISSED, *other], 9) == [other, INVENTED]
    assert worst_answers([*PERFECT, *INVENTED, *MISSED], 1) == [MISSED]


def test_a_failure_is_shown_in_the_colours_of_all_words() -> None:
    class Skyless:
        def label(self, encoded: object, vocabulary: Vocabulary) -> Segmentation:
            boat = np.ones((2, 2), np.int32)
            return Segmentation(boat, boat.astype(np.float32), boat.astype(np.float32))

    names = np.full((2, 2), NAMES.index("sky"), np.uint8)
    scenes = Scenes((2,), (np.zeros((2, 2, 3), np.uint8),), cast(Any, (None,)), (names,))
    (shown,) = failures(cast(Engine, Skyless()), scenes, INVENTED)
    assert (shown.truth == NAMES.index("sky") + 1).all()
    assert (shown.painted == NAMES.index("boat") + 1).all()
    assert shown.lines == ("scene 2, asked for boat, sky", "boat 0.70 is not there, 13% painted")


def test_a_full_sheet_is_a_small_file() -> None:
    drawn = [render(sample_scene(number, "test", 3), 320) for number in range(12)]
    names = [each.label_map.astype(np.int32) % 20 for each in drawn]
    sheet = draw_failures(
        [Failure(each.image, label, label, ("a line " * 30,)) for each, label in zip(drawn, names, strict=True)]
    )
    file = io.BytesIO()
    sheet.save(file, "png", optimize=True)
    assert len(file.getvalue()) < 300_000
    assert sheet.width < 1200

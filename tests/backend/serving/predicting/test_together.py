"""Images that several threads ask for at once become groups, and each thread gets its own answer or error."""

import gc
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backend.serving.predicting.together import Gathering
from ovdiff.errors import ImageError, OVDiffError, WeightsError
from ovdiff.segmentation import Segmentation
from ovdiff.vocabulary import Category, Vocabulary
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.pictures import red_and_blue

WORDS = Vocabulary([Category("red"), Category("blue")])
SOON_S = 60.0


@pytest.fixture
def engine(tmp_path: Path) -> TogetherEngine:
    made = TogetherEngine(tmp_path / "bank")
    for category in WORDS.categories:
        made.build(category)
    return made


class Held:
    """Asks for images in threads, while the first of them is held in the engine until all others wait."""

    def __init__(self, engine: FakeEngine, gathering: Gathering) -> None:
        self._engine, self._gathering = engine, gathering
        self._begun, self._go = threading.Event(), threading.Event()
        engine.on_segment = self._hold

    def _hold(self) -> None:
        self._begun.set()
        assert self._go.wait(SOON_S)

    def ask(self, images: Sequence[np.ndarray], vocabularies: Sequence[Vocabulary]) -> list[Segmentation | OVDiffError]:
        with ThreadPoolExecutor(len(images)) as pool:
            first = pool.submit(self._asked, images[0], vocabularies[0])
            assert self._begun.wait(SOON_S)
            rest = []
            for number, (image, words) in enumerate(zip(images[1:], vocabularies[1:], strict=True), start=1):
                rest.append(pool.submit(self._asked, image, words))
                while len(self._gathering._waiting) < number:
                    assert not rest[-1].done()
            self._go.set()
            return [each.result() for each in (first, *rest)]

    def _asked(self, image: np.ndarray, words: Vocabulary) -> Segmentation | OVDiffError:
        try:
            return self._gathering.segment(image, words)
        except OVDiffError as error:
            return error


def test_what_waits_while_a_group_is_computed_is_the_next_group(engine: TogetherEngine) -> None:
    images = [red_and_blue(32 + 2 * number) for number in range(6)]
    expected = [FakeEngine(engine.folder).segment(image, WORDS) for image in images]
    found = Held(engine, Gathering(engine)).ask(images, [WORDS] * 6)
    assert engine.groups == [3, 2] and engine.segmented == 6  # after the first one, which was alone
    assert engine.kept == 6, "a click on such an image finds its encoding"
    for ours, theirs in zip(found, expected, strict=True):
        assert isinstance(ours, Segmentation) and (ours.label_map == theirs.label_map).all()


def test_images_of_other_words_are_another_group(engine: TogetherEngine) -> None:
    red = Vocabulary([Category("red")])
    found = Held(engine, Gathering(engine)).ask([red_and_blue()] * 5, [WORDS, WORDS, red, WORDS, red])
    assert engine.groups == [2, 2]
    assert [int(each.label_map.max()) for each in found if isinstance(each, Segmentation)] == [2, 2, 1, 2, 1]


def test_an_error_of_one_image_is_its_own_alone(engine: TogetherEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = FakeEngine.segment

    def choosy(self: FakeEngine, image: np.ndarray, vocabulary: Vocabulary) -> Segmentation:
        if image.shape[1] == 34:
            raise ImageError("not this one")
        return segment(self, image, vocabulary)

    monkeypatch.setattr(FakeEngine, "segment", choosy)
    found = Held(engine, Gathering(engine)).ask([red_and_blue(32 + number) for number in range(4)], [WORDS] * 4)
    assert [str(each) if isinstance(each, Exception) else "" for each in found] == ["", "", "not this one", ""]


def test_an_engine_that_fails_altogether_fails_for_whoever_waits_and_the_next_one_may_ask(
    engine: TogetherEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> list[Segmentation]:
        raise WeightsError("there are none")

    gathering = Gathering(engine)
    with monkeypatch.context() as patch:
        patch.setattr(engine, "segment_together", fail)
        found = Held(engine, gathering).ask([red_and_blue()] * 4, [WORDS] * 4)
    assert isinstance(found[0], Segmentation) and [str(each) for each in found[1:]] == ["there are none"] * 3
    assert len(set(map(id, found))) == 4, "each thread adds to the traceback of its own error"
    assert isinstance(gathering.segment(red_and_blue(), WORDS), Segmentation)


def test_an_error_that_was_dealt_with_holds_no_pixels(engine: TogetherEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> list[Segmentation]:
        raise WeightsError("there are none")

    monkeypatch.setattr(engine, "segment", fail)
    image = red_and_blue()
    pixels = weakref.ref(image)
    gc.disable()  # it would find a circle of an error and its pixels, some time
    try:
        with suppress(WeightsError):
            Gathering(engine).segment(image, WORDS)
        del image
        assert pixels() is None
    finally:
        gc.enable()


def test_an_engine_that_takes_one_image_is_asked_by_each_thread_itself(engine: TogetherEngine) -> None:
    alone = FakeEngine(engine.folder)
    gathering = Gathering(alone)
    assert gathering.threads == 1 and Gathering(engine).threads == 6
    with ThreadPoolExecutor(2) as pool:
        meet = threading.Barrier(2)
        alone.on_segment = lambda: meet.wait(SOON_S) and None  # both are inside at once
        assert len(list(pool.map(gathering.segment, [red_and_blue()] * 2, [WORDS] * 2))) == 2

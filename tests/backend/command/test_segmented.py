"""Images of a run in order: those that arrived are worked on while a later one is still on its way."""

import itertools
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest

from backend.command.prototypes import read_categories
from backend.command.segmented import Reading, segmented
from backend.errors import ImageFetchError
from backend.sources.images import decode_image
from ovdiff.errors import StorageError
from ovdiff.storage.patience import patiently
from tests.fakes.engine import FakeEngine, TogetherEngine
from tests.fakes.pictures import encoded, red_and_blue

WORDS = read_categories("blue, red")


@pytest.fixture
def engine(tmp_path: Path) -> TogetherEngine:
    made = TogetherEngine(tmp_path / "bank")
    for category in WORDS.categories:
        made.build(category)
    return made


def reading(fetch: object) -> Reading[int]:
    return Reading(fetch, lambda _item, data: decode_image(data, max_px=10_000), fetched=16)  # type: ignore[arg-type]


def picture(item: int) -> bytes:
    return encoded(red_and_blue(32 + item))


def picture_size(item: int) -> int:
    return red_and_blue(32 + item).size // 3


def test_groups_give_what_one_after_another_gives_and_an_error_ends_one_image_alone(engine: TogetherEngine) -> None:
    def fetch(item: int) -> bytes | None:
        if item == 4:
            raise ImageFetchError("gone")
        return None if item == 5 else b"no picture" if item == 6 else picture(item)

    alone = list(segmented(range(9), reading(fetch), WORDS, FakeEngine(engine.folder)))
    found = list(segmented(range(9), reading(fetch), WORDS, engine))
    assert engine.groups == [3, 2] and engine.kept == 0  # 0 to 2; 3; 7 and 8
    for ours, theirs in zip(found, alone, strict=True):
        assert ours[0] == theirs[0] and str(type(ours[2])) == str(type(theirs[2]))
        if ours[1] is not None:
            assert (ours[2].label_map == theirs[2].label_map).all()  # type: ignore[union-attr]
    assert [item for item, image, _ in found if image is None] == [4, 5, 6]
    assert found[5] == (5, None, None) and str(found[4][2]) == "gone"


def test_what_has_arrived_is_segmented_while_a_later_image_is_on_its_way(engine: TogetherEngine) -> None:
    arrives = threading.Event()

    def fetch(item: int) -> bytes:
        assert item < 12 or arrives.wait(60)
        return picture(item)

    found = segmented(range(13), reading(fetch), WORDS, engine)
    assert [next(found)[0] for _ in range(9)] == list(range(9))  # three groups; the thirteenth image is begun
    arrives.set()
    assert len(list(found)) == 4


def test_ctrl_c_does_not_wait_for_a_storage_that_is_away(engine: TogetherEngine) -> None:
    waited_for, said = threading.Event(), list[str]()

    def away() -> bytes:
        if next(asks) == 20:  # after the second pause of a thread: the caller waits
            os.kill(os.getpid(), signal.SIGINT)
        raise ConnectionError("away")

    def fetch(item: int) -> bytes:
        if item == 0:
            return picture(item)
        assert waited_for.wait(60)
        try:
            return patiently(away, f"{item} cannot be read", 20.0)
        except StorageError as error:
            said.append(str(error))
            raise

    asks, alone = itertools.count(1), FakeEngine(engine.folder)
    with pytest.raises(KeyboardInterrupt):
        for _ in segmented(range(12), reading(fetch), WORDS, alone):
            waited_for.set()
    assert said and all(each.endswith("cannot be read: away. It is not asked again.") for each in said)
    assert len(said) < 11, "what had not begun is not begun"
    for thread in threading.enumerate():
        if thread.name.startswith("ovdiff-ahead"):
            thread.join(60)
            assert not thread.is_alive()


def test_ctrl_c_does_not_wait_for_a_server_that_says_nothing(engine: TogetherEngine) -> None:
    silent, answered = threading.Event(), list[bool]()

    def fetch(item: int) -> bytes:
        if item == 3:
            os.kill(os.getpid(), signal.SIGINT)
        answered.append(item < 1 or silent.wait(20))
        return picture(item)

    with pytest.raises(KeyboardInterrupt):
        for _ in segmented(range(12), reading(fetch), WORDS, FakeEngine(engine.folder)):
            pass
    assert answered == [True], "the images that are on their way are not waited for"
    silent.set()


def test_images_are_decoded_and_segmented_together_as_far_as_their_pixels_fit(engine: TogetherEngine) -> None:
    plain, decoded, seen = reading(picture), list[int](), list[int]()

    def decode(item: int, data: bytes) -> np.ndarray:
        decoded.append(item)
        return plain.decode(item, data)

    engine.on_segment = lambda: seen.append(len(decoded))
    narrow = Reading(plain.fetch, decode, fetched=16, px_at_once=2 * picture_size(7))
    assert [item for item, _, _ in segmented(range(8), narrow, WORDS, engine)] == list(range(8))
    assert engine.groups == [2, 2, 2, 2] and seen[0] <= 4  # two are segmented, and two are ahead


def test_the_bytes_of_an_image_are_kept_no_longer_than_until_it_is_decoded(engine: TogetherEngine) -> None:
    dropped: list[int] = []

    class Data(bytes):
        """Bytes that say when nobody has them any more."""

        def __del__(self) -> None:
            dropped.append(len(self))

    seen: list[int] = []
    engine.on_segment = lambda: seen.append(len(dropped))
    list(segmented(range(3), reading(lambda item: Data(picture(item))), WORDS, engine))
    assert engine.groups == [3] and seen == [3] * 3


def test_an_error_of_all_images_ends_the_run_after_those_before_it(engine: TogetherEngine) -> None:
    def fetch(item: int) -> bytes:
        if item == 4:
            raise StorageError("away for too long")
        return picture(item)

    done: list[int] = []
    with pytest.raises(StorageError, match="away for too long"):
        done.extend(item for item, _, _ in segmented(range(9), reading(fetch), WORDS, engine))
    assert done == [0, 1, 2, 3]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("ovdiff-ahead")]

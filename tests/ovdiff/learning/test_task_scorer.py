"""Tasks are scored by the engine, on drawn scenes."""

import numpy as np
import pytest

from ovdiff.engine import Engine
from ovdiff.engines.learning import ScoresTasks
from ovdiff.errors import ImageError
from ovdiff.learning.next_tasks import TaskScore
from tests.ovdiff.learning.conftest import WORDS, annotation, renamed, scene

pytestmark = pytest.mark.slow  # the embedded models are loaded

HERE, OTHER = 0, 1


def scored(engine: Engine, number: int) -> TaskScore:
    """Return the score of a scene that was not taught."""
    found = engine.task_score(scene(number).image, WORDS)
    assert found is not None
    return found


def test_a_score_tells_what_the_segmentation_shows(engine: Engine) -> None:
    assert isinstance(engine, ScoresTasks)
    segmentation, found = engine.segment(scene(HERE).image, WORDS), scored(engine, HERE)
    shown = {WORDS.names[index]: mask for index, mask in segmentation.found()}
    assert [word.name for word in found.words] == list(shown) and shown
    for word in found.words:
        index = WORDS.names.index(word.name)
        assert word.share == pytest.approx(shown[word.name].mean())
        assert word.score == pytest.approx(segmentation.category_score(index)) and word.lessons == 0
    assert found.doubt == pytest.approx(1 - segmentation.image_score())
    assert found.unlike == pytest.approx(1 - segmentation.scores.mean(), abs=1e-5)
    assert (
        found.seen == 0
        and found.embedding is not None
        and np.linalg.norm(found.embedding) == pytest.approx(1, abs=1e-3)
    )


def test_rivals_are_the_words_between_which_many_pixels_are_close(engine: Engine) -> None:
    segmentation, found = engine.segment(scene(HERE).image, WORDS), scored(engine, HERE)
    shares = [pair.share for pair in found.rivals]
    assert shares == sorted(shares, reverse=True) and 0 < sum(shares) <= 1
    assert sum(shares) == pytest.approx((segmentation.margins < 0.02).mean(), abs=0.05)
    assert all(set(pair.words) <= {*WORDS.names, "background"} and len(set(pair.words)) == 2 for pair in found.rivals)


def test_an_image_with_a_lesson_is_no_task_any_more(engine: Engine) -> None:
    drawn = scene(OTHER)
    lesson = engine.learn(drawn.image, annotation(drawn))
    assert engine.task_score(drawn.image, WORDS) is None
    engine.lessons.change(lesson.address, on=False)
    assert engine.task_score(drawn.image, WORDS) is None  # A person has annotated it, whatever became of that.
    engine.lessons.remove(lesson.address)
    assert engine.task_score(drawn.image, WORDS) is not None


def test_what_lessons_have_shown_is_counted_by_phrases_and_while_they_are_on(engine: Engine) -> None:
    drawn, other = scene(OTHER), scene(HERE).image
    lesson = engine.learn(drawn.image, annotation(drawn))
    present = {lesson.words[number - 1].name for number in lesson.present()}
    for vocabulary, prefix in ((WORDS, ""), (renamed(WORDS), "my ")):
        found = engine.task_score(other, vocabulary)
        assert found is not None and found.words and 0 < found.seen < 1
        assert {word.name: word.lessons for word in found.words} == {
            word.name: int(word.name.removeprefix(prefix) in present) for word in found.words
        }
    assert any(word.lessons for word in scored(engine, HERE).words)
    engine.lessons.change(lesson.address, on=False)
    assert scored(engine, HERE).seen == 0 and not any(word.lessons for word in scored(engine, HERE).words)


def test_what_is_no_image_is_refused(engine: Engine) -> None:
    with pytest.raises(ImageError):
        engine.task_score(np.zeros((4, 4), np.uint8), WORDS)

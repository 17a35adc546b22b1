from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ovdiff.bank.lessons import LessonSource
from ovdiff.engine import Engine
from ovdiff.engines.learning import Learns
from ovdiff.errors import ImageError, LessonError, MissingPrototypesError
from ovdiff.learning.annotation import Annotation
from ovdiff.vocabulary import Category, Vocabulary
from tests.ovdiff.learning.conftest import WORDS, annotation, renamed, scene

pytestmark = pytest.mark.slow  # the embedded models are loaded


@pytest.fixture(scope="module")
def numbers() -> list[int]:
    """Scenes that show at least one of the words."""
    return [n for n in range(40) if _has_word(n)][:2]


def _has_word(number: int) -> bool:
    drawn = scene(number)
    return any(drawn.mask(name).sum() > 200 for name in WORDS.names)


def _files(engine: Engine) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(engine.lessons.folder.glob("*"))}


def test_a_lesson_that_is_taken_and_removed_leaves_nothing(engine: Engine, numbers: list[int]) -> None:
    assert isinstance(engine, Learns)
    other = scene(numbers[1]).image
    before, masks = engine.lessons_version(WORDS), engine.segment(other, WORDS)
    assert before == ""
    drawn = scene(numbers[0])
    lesson = engine.learn(drawn.image, annotation(drawn), LessonSource(task="7"))
    taught = engine.lessons_version(WORDS)
    assert taught != before and engine.lessons.load(lesson.address).source.task == "7"
    engine.lessons.change(lesson.address, on=False)
    assert engine.lessons_version(WORDS) == before
    engine.lessons.change(lesson.address, on=True)
    assert engine.lessons_version(WORDS) == taught
    engine.lessons.remove(lesson.address)
    after = engine.segment(other, WORDS)
    assert engine.lessons_version(WORDS) == before and after.label_map.tobytes() == masks.label_map.tobytes()
    assert after.scores.tobytes() == masks.scores.tobytes() and _files(engine) == {}


def test_lessons_count_for_the_words_that_they_speak_about_and_no_others(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    engine.learn(drawn.image, annotation(drawn))
    assert engine.lessons_version(Vocabulary(["sky", "clock"])) != ""
    assert engine.lessons_version(Vocabulary(["clock"])) == ""
    assert "-lessons" not in engine.fingerprint()


def test_the_order_of_lessons_changes_no_byte(engine: Engine, numbers: list[int]) -> None:
    drawn = [scene(number) for number in numbers]
    for each in drawn:
        engine.learn(each.image, annotation(each))
    first, version = _files(engine), engine.lessons_version(WORDS)
    for address in engine.lessons.addresses():
        engine.lessons.remove(address)
    for each in reversed(drawn):
        engine.learn(each.image, annotation(each))
    assert _files(engine) == first and len(first) == 2 * len(numbers) and engine.lessons_version(WORDS) == version


def test_a_lesson_says_what_the_person_said_beside_what_was_predicted(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    said = annotation(drawn)
    predicted = engine.segment(drawn.image, WORDS).label_map
    lesson = engine.learn(drawn.image, said, LessonSource("1", "2", "3", "ann", "today", "a.png"))
    assert lesson.complete and [word.name for word in lesson.words] == list(WORDS.names)
    assert set(lesson.spaces) == {"stable_diffusion", "clip"} and lesson.embedding is not None
    present = {number for number in np.unique(said.label_map).tolist() if number}
    assert set(lesson.present()) <= present and set(lesson.present()) | set(lesson.absent()) == {1, 2, 3, 4}
    for rows in lesson.spaces.values():
        np.testing.assert_allclose(np.linalg.norm(rows.vectors, axis=1), 1, rtol=1e-4)
        pairs = np.stack([rows.labels, rows.predicted], axis=1)
        counts = np.unique(pairs, axis=0, return_counts=True)[1]
        assert counts.max() <= engine.preset.learning.rows_per_group
        # The shares of cells that were right agree with those of pixels, but for the borders.
        right = rows.weights[rows.labels == rows.predicted].sum() / rows.weights.sum()
        assert abs(right - (said.label_map == predicted).mean()) < 0.2
    kept = engine.lessons.load(lesson.address)
    np.testing.assert_allclose(kept.spaces["clip"].vectors, lesson.spaces["clip"].vectors, atol=1e-3)
    assert kept.source == LessonSource("1", "2", "3", "ann", "today", "a.png")


def test_crops_are_the_annotated_things_and_never_stuff(engine: Engine) -> None:
    number = next(n for n in range(80) if scene(n).mask("mug").sum() > 300)
    drawn = scene(number)
    lesson = engine.learn(drawn.image, annotation(drawn))
    assert lesson.crops is not None and lesson.embedding is not None
    assert 2 in lesson.crops.labels and set(lesson.crops.labels.tolist()) <= {1, 2}
    assert lesson.crops.vectors.shape == (len(lesson.crops.labels), len(lesson.embedding))
    assert lesson.crops.areas.max() == pytest.approx(drawn.mask("mug").mean(), rel=0.1)


def test_a_partial_annotation_teaches_only_what_it_covers(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    said = annotation(drawn)
    assert (said.label_map == 0).any()
    whole = engine.learn(drawn.image, said)
    part = engine.learn(drawn.image, replace(said, complete=False))
    assert part.address != whole.address and not part.complete and part.absent() == ()
    for name, rows in part.spaces.items():
        assert 0 not in rows.labels and 0 in whole.spaces[name].labels
        kept = whole.spaces[name].labels > 0
        np.testing.assert_array_equal(rows.vectors, whole.spaces[name].vectors[kept])


def test_a_word_that_the_annotation_does_not_speak_about_may_be_right(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    said = annotation(drawn)
    word = int(np.bincount(said.label_map[said.label_map > 0]).argmax())
    only = np.where(said.label_map == word, word, 0).astype(np.int32)
    lesson = engine.learn(drawn.image, Annotation(only, WORDS, covered=[WORDS.names[word - 1]]))
    assert lesson.absent() == () and [each.covered for each in lesson.words].count(True) == 1
    for rows in lesson.spaces.values():
        assert set(rows.labels.tolist()) <= {0, word}
        taught_as_none = set(rows.predicted[rows.labels == 0].tolist())
        assert taught_as_none <= {0, word}  # where another word was predicted, nobody says that it is wrong


def test_a_lesson_is_found_again_by_content(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    said = annotation(drawn)
    address = engine.lesson_address(drawn.image, said)
    other_names = annotation(drawn, renamed(WORDS))
    assert engine.lesson_address(drawn.image, other_names) == address  # phrases count, names and their order do not
    assert engine.learn(drawn.image, other_names).address == address
    moved = replace(said, label_map=np.roll(said.label_map, 1, axis=0))
    brighter = drawn.image // 2 + 60
    different = [
        engine.lesson_address(drawn.image, moved),
        engine.lesson_address(brighter, said),
        engine.lesson_address(drawn.image, replace(said, complete=False)),
        _variant(engine, "learning", rows_per_group=4).lesson_address(drawn.image, said),
        _variant(engine, "part_check", crop_px=32).lesson_address(drawn.image, said),
        _variant(engine, "windows", short_side_px=160).lesson_address(drawn.image, said),
    ]
    assert len({address, *different}) == 1 + len(different)
    same = _variant(engine, "part_check", logit_scale=20.0)  # weighs what CLIP sees, and changes no crop
    assert same.lesson_address(drawn.image, said) == address


def _variant(engine: Engine, section: str, **changes: object) -> Engine:
    preset = replace(engine.preset, **{section: replace(getattr(engine.preset, section), **changes)})  # type: ignore[arg-type]
    return Engine(preset, engine.bank)


def test_lessons_of_another_recipe_are_not_in_force(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    other = _variant(engine, "learning", rows_per_group=4)
    before = other.lessons_version(WORDS)
    engine.learn(drawn.image, annotation(drawn))
    assert other.lessons_version(WORDS) == before


def test_a_changed_annotation_replaces_the_older_lesson_of_its_task(
    engine: Engine, numbers: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = scene(numbers[0])
    old = annotation(drawn)
    changed = replace(old, complete=False)
    source = LessonSource("1", "7", "11", image="a.png")
    other_image = replace(source, image="b.png")
    first = engine.learn(drawn.image, old, source)
    elsewhere = engine.learn(scene(numbers[1]).image, annotation(scene(numbers[1])), other_image)
    second = engine.learn(drawn.image, changed, replace(source, annotation="12"), per_annotation=True)
    assert set(engine.lessons.addresses()) == {first.address, second.address, elsewhere.address}
    newest = replace(changed, label_map=np.roll(old.label_map, 1, axis=0))
    third = engine.learn(drawn.image, newest, replace(source, annotation="12"), per_annotation=True)
    assert set(engine.lessons.addresses()) == {first.address, third.address, elsewhere.address}

    def refuse(*_: object) -> None:
        raise AssertionError("A model would have run.")

    monkeypatch.setattr(engine._segmenter, "encode", refuse)
    again = engine.learn(drawn.image, newest, replace(source, annotation="12"))  # it is there; the older one goes
    assert again.address == third.address
    assert set(engine.lessons.addresses()) == {third.address, elsewhere.address}


def test_what_cannot_be_learned_from_is_refused_and_nothing_is_stored(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    said = annotation(drawn)
    with pytest.raises(LessonError, match="annotation is of 96 x 96 px and its image of 96 x 90 px"):
        engine.learn(drawn.image[:90], said)
    with pytest.raises(ImageError, match="Expected an"):
        engine.learn(drawn.image[..., 0], said)
    unbuilt = Vocabulary([*WORDS.categories, Category("boat")])
    with pytest.raises(MissingPrototypesError, match="'boat'"):
        engine.learn(drawn.image, replace(said, vocabulary=unbuilt))
    assert _files(engine) == {}


def test_a_store_that_cannot_be_written_is_said(engine: Engine, numbers: list[int]) -> None:
    drawn = scene(numbers[0])
    Path(engine.lessons.folder).write_text("a file is in the way")
    with pytest.raises(LessonError, match="cannot be written"):
        engine.learn(drawn.image, annotation(drawn))

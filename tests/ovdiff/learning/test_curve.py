import pytest

from ovdiff.bank.lessons import LessonSource
from ovdiff.engine import Engine
from ovdiff.engines.learning import TellsCurve
from ovdiff.learning.curve import _counts
from ovdiff.learning.curve_points import CurvePoint, RightShares
from tests.ovdiff.learning.conftest import WORDS, annotation, scene

pytestmark = pytest.mark.slow  # the embedded models are loaded


def test_the_number_of_lessons_is_doubled_up_to_all() -> None:
    found = [_counts(number) for number in (0, 1, 2, 3, 8, 9)]
    assert found == [[], [1], [1, 2], [1, 2, 3], [1, 2, 4, 8], [1, 2, 4, 8, 9]]


def test_an_extractor_that_lessons_make_worse_counts_without_them() -> None:
    point = CurvePoint(3, {"a": RightShares(0.5, 0.7, True), "b": RightShares(0.6, 0.4, False)})
    assert point.before == pytest.approx(0.55)
    assert point.after == pytest.approx(0.65)


def test_the_curve_ends_with_what_the_lessons_in_force_say(engine: Engine) -> None:
    assert isinstance(engine, TellsCurve)
    assert engine.learning_curve(WORDS) == ()
    shown = [n for n in range(60) if any(scene(n).mask(name).sum() > 200 for name in WORDS.names)][:3]
    for day, number in enumerate(shown):
        drawn = scene(number)
        engine.learn(drawn.image, annotation(drawn), LessonSource("1", str(number), when=f"2026-11-2{9 - day}"))
    curve = engine.learning_curve(WORDS)
    assert [point.lessons for point in curve] == [1, 2, 3]
    for point in curve:
        assert set(point.shares) == {"stable_diffusion", "clip"}
        assert 0 <= point.before <= point.after <= 1
    encoded = engine.encode(scene(5).image)
    with engine._models.lock:
        model = engine._segmenter.match(encoded, WORDS).lessons
    assert model is not None
    for name, report in model.reports.items():
        told = curve[-1].shares[name]
        assert (told.before, told.after, told.used) == (report.before, report.after, report.used)
    for address in engine.lessons.addresses()[:1]:
        engine.lessons.change(address, on=False)
    assert [point.lessons for point in engine.learning_curve(WORDS)] == [1, 2], "what is off does not count"


def test_the_first_point_is_of_the_lesson_that_was_annotated_first(engine: Engine) -> None:
    shown = [n for n in range(60) if any(scene(n).mask(name).sum() > 200 for name in WORDS.names)][:2]
    for day, number in enumerate(shown):
        drawn = scene(number)
        engine.learn(drawn.image, annotation(drawn), LessonSource("1", str(number), when=f"2026-11-2{9 - day}"))
    both = engine.learning_curve(WORDS)
    for address in engine.lessons.addresses():
        if engine.lessons.card(address).source.task != str(shown[-1]):
            engine.lessons.change(address, on=False)
    assert engine.learning_curve(WORDS)[0].shares == both[0].shares

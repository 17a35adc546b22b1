"""What lessons say: the favoured group, and why an extractor's lessons are not used."""

from dataclasses import replace

from ovdiff.explaining.taught import TaughtExtractor
from tests.fakes.explanations import taught


def test_the_favoured_group_competes() -> None:
    found = taught()
    favoured = found.favoured()
    assert favoured is not None and favoured.name == "things"
    sky = replace(found.groups[0], name="sky", log_share=0.0, competes=False)
    assert replace(found, groups=(*found.groups, sky)).favoured() == favoured
    assert replace(found, groups=(sky,)).favoured() is None


def test_why_lessons_of_an_extractor_are_not_used() -> None:
    assert TaughtExtractor("clip", True, 0.5, 0.6, (1.0,)).why_not == ""
    assert TaughtExtractor("clip", False, None, None, ()).why_not == "No lesson has cells of it."
    assert "80.0% of the cells are right without lessons, and 70.0% with" in (
        TaughtExtractor("clip", False, 0.8, 0.7, ()).why_not
    )
